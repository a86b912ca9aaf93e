"""tools/windows_check.py: the measurements for a real Windows."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

import windows_check
from transport.windows.fake_kernel32 import FakeKernel32
from windows_steps import report

CHECK = Path(__file__).resolve().parents[2] / "tools" / "windows_check.py"
#: The steps of the first hour on Windows, by the rows that they stand for.
FIRST_HOUR = {
    0: {"system", "layouts", "memory_order"},
    1: {"kernel_tests", "flush"},
    2: {"tests"},
    3: {"tracking"},
    4: {"held_name"},
    5: {"interop"},
    6: {"remote", "remote_ends"},
    7: {"unreachable"},
    8: {"descriptors"},
    9: {"second_user"},
    10: {"elevation", "integrity", "same_token"},
    11: {"services", "restricted"},
    12: {"app_container"},
    13: {"ctrl_c", "serve_ends"},
    14: {"threads", "idle"},
    15: {"page_heap", "verifier"},
    16: {"large", "large_asyncio", "left_early"},
    17: {"names", "kernel_table", "ports", "one_way"},
    18: {"container"},
    19: {"rest"},
    20: {"cleanup"},
}
#: Without a kernel of their own to ask.
NOT_ON_THE_FAKE = {
    *("system", "layouts", "descriptors", "large_asyncio", "left_early"),
    *("remote", "remote_ends", "unreachable", "interop", "second_user", "services", "same_token"),
    *("integrity", "restricted", "app_container", "kernel_tests", "tests", "ctrl_c", "serve_ends"),
    *("page_heap", "verifier", "container", "rest", "cleanup"),
}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECK), *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )


def test_every_step_of_the_first_hour_is_there() -> None:
    assert set().union(*FIRST_HOUR.values()) == set(windows_check.STEPS)
    lines = run("--list").stdout.splitlines()
    assert {line.split()[0] for line in lines} == set(windows_check.STEPS)
    assert all(len(line.split(maxsplit=1)[1]) > 10 for line in lines), "each says what it is about"


@pytest.mark.parametrize("name", windows_check.STEPS)
def test_a_step_on_the_fake_kernel(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It proves what is assumed, or says why it cannot."""
    fake = FakeKernel32()
    monkeypatch.setattr(report, "_fakes", [fake])
    with contextlib.suppress(report.Skipped):
        windows_check.STEPS[name]()
        assert name not in NOT_ON_THE_FAKE
        output = capsys.readouterr().out
        assert "\nsame " in f"\n{output}"
        assert "DIFFERS" not in output
        return
    assert name in NOT_ON_THE_FAKE


@pytest.mark.skipif(sys.platform == "win32", reason="it runs there")
def test_elsewhere_it_says_where_it_belongs() -> None:
    done = run("tracking")
    assert done.returncode == 2
    assert "run it there" in done.stderr


def test_a_step_that_hangs_shows_its_stacks_and_is_ended() -> None:
    code = (
        "import threading, windows_check as check\n"
        "def hang(): 'Hang.'; threading.Event().wait()\n"
        "check.STEPS['hang'], check.LONGER['hang'] = hang, 5.3\n"
        "check.step('hang')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=CHECK.parent, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stderr is not None
        try:
            assert child.stderr.readline().startswith("Timeout")
            assert "in hang" in "".join(child.stderr.readline() for _ in range(6))
        finally:
            child.kill()


@pytest.mark.skipif(sys.platform != "win32", reason="measures Windows")
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("tracking", "SID of a client, quality dynamic, came first, after a read"),
        ("held_name", "same     held: CreateFile: seen 2, assumed 2"),
        ("kernel_table", "same     a part of a message: seen (234, b'mess')"),
    ],
)
def test_a_step_reports_facts(name: str, line: str) -> None:
    done = run(name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert line in done.stdout
    assert "failed: nothing" in done.stdout


@pytest.mark.skipif(sys.platform != "win32", reason="measures Windows")
def test_a_step_that_cannot_run_says_why_and_is_no_failure() -> None:
    done = run("second_user", "container", "page_heap")
    if not report.is_wine():
        pytest.skip("they run there")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("skipped: Wine: ") == 3


@pytest.mark.skipif(sys.platform != "win32", reason="starts a program with another token")
def test_programs_with_another_token_start() -> None:
    done = run("same_token", "integrity")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same     a program with a copy of this token: seen 'connected'" in done.stdout
    assert "a low program at a pipe with a low label: seen 'connected'" in done.stdout

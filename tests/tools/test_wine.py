"""What of tools/wine.py needs no Wine. That it runs Windows programs, each CI run shows."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import wine


def test_a_unix_path_as_windows_programs_call_it() -> None:
    assert wine.windows_path(Path("/a b/c")) == "Z:\\a b\\c"


def test_the_environment_loses_what_misleads_and_keeps_the_rest() -> None:
    outer = {"DISPLAY": ":0", "PYTHONDONTWRITEBYTECODE": "1", "NPIPE_REQUIRE": "go", "A": "b"}
    inner = wine.environment(Path("/home"), outer)
    assert not {"DISPLAY", "PYTHONDONTWRITEBYTECODE"} & inner.keys()
    assert (inner["NPIPE_REQUIRE"], inner["A"]) == ("go", "b")
    assert inner["WINEPREFIX"] == "/home/prefix"
    assert "winedbg.exe=d" in inner["WINEDLLOVERRIDES"]  # a crash must end, not wait


def test_the_caller_may_set_the_import_path_and_the_debug_channels() -> None:
    inner = wine.environment(Path("/home"), {"PYTHONPATH": "x", "WINEDEBUG": "+server"})
    assert (inner["PYTHONPATH"], inner["WINEDEBUG"]) == ("x", "+server")


def test_a_change_of_requirements_changes_their_digest(tmp_path: Path) -> None:
    def digest(extra: str) -> str:
        file = tmp_path / "pyproject.toml"
        file.write_text(f'[project]\nname = "x"\noptional-dependencies.a = ["{extra}"]\n')
        return wine.requirements(file)

    assert digest("one") == digest("one") != digest("two")


@pytest.mark.parametrize(("code", "status"), [("exit(37)", 37), ("os.kill(os.getpid(), 9)", 137)])
def test_the_status_is_the_one_a_shell_would_report(code: str, status: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", f"import os; {code}"])
    assert wine.wait(process, 30) == status


def test_a_program_that_takes_too_long_is_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with process:
        assert wine.wait(process, 0.05) == wine.TIMED_OUT


def test_output_is_copied_whole_though_a_child_keeps_the_pipe_open() -> None:
    source, kept = os.pipe()  # `kept` is what a child left behind holds
    out_read, out_write = os.pipe()
    os.write(kept, b"the last words")
    ended = threading.Event()
    ended.set()
    wine.pump(os.fdopen(source, "rb"), out_write, ended)
    assert os.read(out_read, 100) == b"the last words"
    for descriptor in (kept, out_read, out_write):
        os.close(descriptor)


def test_a_reader_who_leaves_lets_the_program_notice() -> None:
    source, feeding = os.pipe()
    out_read, out_write = os.pipe()
    os.close(out_read)
    os.write(feeding, b"nobody reads this")
    wine.pump(os.fdopen(source, "rb"), out_write, threading.Event())
    with pytest.raises(BrokenPipeError):
        os.write(feeding, b"more")
    os.close(feeding)
    os.close(out_write)

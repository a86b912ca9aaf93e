"""tools/windows_check.py: the measurements for a real Windows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).resolve().parents[2] / "tools" / "windows_check.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHECK), *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_steps_are_listed() -> None:
    steps = run("--list").stdout.split()
    assert {"tracking", "held_name", "elevation", "remote", "tests"} <= set(steps)
    others = {"second_user", "services", "app_container"}
    programs = {"ctrl_c", "serve_ends", "page_heap", "container", "rest"}
    assert others | programs <= set(steps)


@pytest.mark.skipif(sys.platform == "win32", reason="it runs there")
def test_elsewhere_it_says_where_it_belongs() -> None:
    done = run("tracking")
    assert done.returncode == 2
    assert "run it there" in done.stderr


@pytest.mark.skipif(sys.platform != "win32", reason="measures Windows")
def test_a_step_reports_facts() -> None:
    done = run("tracking", "held_name")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SID of a dynamic client that came first, after a read" in done.stdout
    assert "failed: nothing" in done.stdout


@pytest.mark.skipif(sys.platform != "win32", reason="measures Windows")
def test_a_step_that_cannot_run_says_why_and_is_no_failure() -> None:
    done = run("second_user", "container", "page_heap")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("skipped: ") == 3

"""Programs that the steps of tools/windows_check.py start as another account or token.

Such a program is a Python of this installation that writes its findings to a file in a directory
that every user may read and write.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_void_p, wintypes
from pathlib import Path
from typing import Any, Final

from windows_steps.report import ROOT

LIMIT: Final = 60.0  # seconds that another account's program may take
NO_WINDOW: Final = 0x08000000  # CREATE_NO_WINDOW

PROLOGUE: Final = """
import sys
sys.path.insert(0, {source!r})
import npipe
output = open(sys.argv[1], "a", encoding="utf-8", buffering=1)
def say(text):
    print(text, file=output, flush=True)
"""

Start = Callable[[list[str]], None]


class StartupInfo(ctypes.Structure):
    _fields_ = (
        ("cb", wintypes.DWORD),
        *((name, wintypes.LPWSTR) for name in ("reserved", "desktop", "title")),
        *((name, wintypes.DWORD) for name in ("x", "y", "xs", "ys", "xc", "yc", "f", "flags")),
        *((name, wintypes.WORD) for name in ("show", "reserved_size")),
        *((name, wintypes.HANDLE) for name in ("reserved2", "stdin", "stdout", "stderr")),
        ("attributes", c_void_p),  # of STARTUPINFOEXW; ``cb`` says whether it counts
    )


class ProcessInformation(ctypes.Structure):
    _fields_ = (
        *((name, wintypes.HANDLE) for name in ("process", "thread")),
        *((name, wintypes.DWORD) for name in ("pid", "tid")),
    )


def library(name: str) -> Any:
    return ctypes.WinDLL(name, use_last_error=True)  # type: ignore[attr-defined,unused-ignore]


def check(succeeded: Any) -> None:
    """Raise the last error of Windows if a call failed."""
    if not succeeded:
        raise ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined,unused-ignore]


class Program:
    """A program of another account, and the lines that it has written."""

    def __init__(self, directory: Path, start: Start, code: str, *arguments: str) -> None:
        script = directory / f"{uuid.uuid4()}.py"
        self._output = script.with_suffix(".txt")
        self._output.touch()
        script.write_text(PROLOGUE.format(source=str(ROOT / "src")) + code, encoding="utf-8")
        start([sys.executable, str(script), str(self._output), *arguments])

    def lines(self, count: int) -> list[str]:
        """Wait until the program has written so many lines, and return them."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            lines = self._output.read_text(encoding="utf-8").splitlines()
            if len(lines) >= count:
                return lines
            time.sleep(0.05)
        raise TimeoutError(f"{len(lines)} lines of {count} after {LIMIT:g} s: {lines}")


@contextmanager
def open_directory() -> Iterator[Path]:
    """Make a directory that every account may use, and let every account read the sources."""
    with tempfile.TemporaryDirectory(
        dir=os.environ.get("PUBLIC"), ignore_cleanup_errors=True
    ) as at:
        everyone = "*S-1-1-0"
        run("icacls", at, "/grant", f"{everyone}:(OI)(CI)F")
        run("icacls", str(ROOT / "src"), "/grant", f"{everyone}:(OI)(CI)RX", "/t", "/q")
        yield Path(at)


def run(*command: str) -> str:
    """Run a program of Windows; return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command[:2])}: {done.stdout}{done.stderr}")
    return done.stdout

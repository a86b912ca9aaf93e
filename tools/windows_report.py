"""What the steps of tools/windows_check.py share: facts, names, and reasons to skip a step."""

from __future__ import annotations

import ctypes
import sys
import uuid
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
SKIPPED: Final = 77  # exit status of a step that cannot run here, as automake has it


class Skipped(Exception):
    """The step cannot run on this system; the message says why."""


def fact(what: str, assumed: Any, seen: Any) -> None:
    """Print one line of the report; an ``assumed`` of None only tells what was seen."""
    mark = "same" if assumed == seen or assumed is None else "DIFFERS"
    print(f"{mark:8} {what}: seen {seen!r}, assumed {assumed!r}", flush=True)


def new_name() -> str:
    """Return the name of a pipe that nothing else has."""
    return rf"\\.\pipe\npipe-check-{uuid.uuid4()}"


def is_wine() -> bool:
    """Tell whether this Windows is Wine."""
    if sys.platform != "win32":
        return False
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def require_windows(why: str) -> None:
    """Skip the step under Wine."""
    if is_wine():
        raise Skipped(f"Wine: {why}")


def require_elevated() -> None:
    """Skip the step without the rights of an administrator."""
    from npipe.transport.windows.kernel32 import load

    if not load().is_elevated():
        raise Skipped("needs an elevated shell")

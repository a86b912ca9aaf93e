"""What the steps of tools/windows_check.py share: the kernel, facts, reasons to skip a step."""

from __future__ import annotations

import ctypes
import importlib
import sys
import uuid
from pathlib import Path
from typing import Any, Final

from npipe.address import Address
from npipe.transport.windows.kernel32 import Kernel32, load

ROOT: Final = Path(__file__).resolve().parents[2]
SKIPPED: Final = 77  # exit status of a step that cannot run here, as automake has it

_fakes: list[Kernel32] = []


class Skipped(Exception):
    """The step cannot run on this system; the message says why."""


def kernel() -> Kernel32:
    """Return the kernel that is measured: that of this system, or the fake of the tests."""
    return _fakes[0] if _fakes else load()


def is_fake() -> bool:
    """Tell whether the fake kernel is measured."""
    return bool(_fakes)


def use_fake() -> None:
    """Measure the fake kernel of the tests instead of this system's."""
    sys.path.insert(0, str(ROOT / "tests"))
    _fakes.append(importlib.import_module("transport.windows.fake_kernel32").FakeKernel32())


def fact(what: str, assumed: Any, seen: Any) -> None:
    """Print one line of the report; an ``assumed`` of None only tells what was seen."""
    mark = "same" if assumed == seen or assumed is None else "DIFFERS"
    print(f"{mark:8} {what}: seen {seen!r}, assumed {assumed!r}", flush=True)


def note(text: object) -> None:
    """Print a line of the report that compares nothing."""
    print(f"         {text}", flush=True)


def new_name() -> str:
    """Return the name of a pipe that nothing else has."""
    return rf"\\.\pipe\npipe-check-{uuid.uuid4()}"


def new_address() -> Address:
    """Return the address of a pipe that nothing else has."""
    return Address("pipe", new_name())


def is_wine() -> bool:
    """Tell whether this Windows is Wine."""
    if sys.platform != "win32":
        return False
    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


def require_kernel(why: str) -> None:
    """Skip the step on the fake kernel."""
    if is_fake():
        raise Skipped(f"the fake kernel: {why}")


def require_windows(why: str) -> None:
    """Skip the step on the fake kernel and under Wine."""
    require_kernel(why)
    if is_wine():
        raise Skipped(f"Wine: {why}")


def require_elevated() -> None:
    """Skip the step without the rights of an administrator."""
    if not load().is_elevated():
        raise Skipped("needs an elevated shell")

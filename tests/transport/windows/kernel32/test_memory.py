"""The memory that the kernel writes to."""

from __future__ import annotations

import ctypes
import sys

import pytest

from npipe.transport.windows.kernel32.constants import INVALID_HANDLE_VALUE
from npipe.transport.windows.kernel32.memory import OVERLAPPED, SECURITY_ATTRIBUTES

on_windows = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


@on_windows
def test_structures_are_as_the_kernel_lays_them_out() -> None:
    assert ctypes.sizeof(ctypes.c_void_p) == 8, "the numbers below are for 64 bits"
    assert ctypes.sizeof(OVERLAPPED) == 32
    assert OVERLAPPED.hEvent.offset == 24
    assert ctypes.sizeof(SECURITY_ATTRIBUTES) == 24
    assert SECURITY_ATTRIBUTES.lpSecurityDescriptor.offset == 8
    assert INVALID_HANDLE_VALUE == 0xFFFFFFFFFFFFFFFF

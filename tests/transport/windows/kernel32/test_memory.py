"""The memory that the kernel writes to."""

from __future__ import annotations

import ctypes
import sys

import pytest

from npipe.transport.windows.kernel32.constants import INVALID_HANDLE_VALUE
from npipe.transport.windows.kernel32.memory import (
    OVERLAPPED,
    OVERLAPPED_ENTRY,
    SECURITY_ATTRIBUTES,
)

on_windows = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


@on_windows
def test_structures_are_as_the_kernel_lays_them_out() -> None:
    pointer = ctypes.sizeof(ctypes.c_void_p)
    structures = (OVERLAPPED, OVERLAPPED_ENTRY, SECURITY_ATTRIBUTES)
    sizes, offsets = ([32, 32, 24], (24, 8, 8)) if pointer == 8 else ([20, 16, 12], (16, 4, 4))
    assert [ctypes.sizeof(each) for each in structures] == sizes
    assert OVERLAPPED.hEvent.offset == offsets[0]
    assert OVERLAPPED_ENTRY.lpOverlapped.offset == offsets[1]
    assert SECURITY_ATTRIBUTES.lpSecurityDescriptor.offset == offsets[2]
    assert (1 << 8 * pointer) - 1 == INVALID_HANDLE_VALUE

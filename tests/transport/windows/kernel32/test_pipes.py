"""The bindings to pipes: failures are codes."""

from __future__ import annotations

import sys

import pytest

from npipe.transport.windows.kernel32 import load

on_windows = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


@on_windows
def test_failures_return_the_windows_code() -> None:
    api = load()
    assert api.CreateFile(r"\\.\pipe\npipe-no-such-pipe", 0x12019B, 0) == (2, 0)
    assert api.WaitNamedPipe(r"\\.\pipe\npipe-no-such-pipe", 1) == 2
    assert api.CloseHandle(0x7FFFFFF0) == 6
    assert api.GetNamedPipeInfo(0x7FFFFFF0)[0] == 6
    assert api.descriptor("nonsense")[0] != 0
    assert api.CancelSynchronousIo(0x7FFFFFF0) != 0

"""The bindings to events and handles."""

from __future__ import annotations

import sys

import pytest

from npipe.transport.windows.kernel32 import load
from npipe.transport.windows.kernel32.constants import WAIT_OBJECT_0, WAIT_TIMEOUT

on_windows = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


@on_windows
def test_events() -> None:
    api = load()
    code, event = api.CreateEvent()
    assert not code
    assert api.WaitForSingleObject(event, 0) == WAIT_TIMEOUT
    api.SetEvent(event)
    assert api.WaitForSingleObject(event, 0) == WAIT_OBJECT_0
    assert api.WaitForMultipleObjects([event], 0) == 0
    api.ResetEvent(event)
    assert api.WaitForSingleObject(event, 0) == WAIT_TIMEOUT
    assert api.CloseHandle(event) == 0

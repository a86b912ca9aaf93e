"""What each NTSTATUS becomes."""

from __future__ import annotations

import pytest

from npipe.transport.smb.status import BUSY, is_end, open_error, stream_error

NOT_FOUND, DENIED, LOGON_FAILURE, RESET = 0xC0000034, 0xC0000022, 0xC000006D, 0xC000020D
DISCONNECTED, BROKEN, CANCELLED = 0xC00000B0, 0xC000014B, 0xC0000120


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (NOT_FOUND, FileNotFoundError),
        (DENIED, PermissionError),
        (LOGON_FAILURE, PermissionError),
        (RESET, ConnectionRefusedError),
        (CANCELLED, OSError),
    ],
)
def test_an_open_that_failed(status, kind):
    error = open_error(status, r"\\host\pipe\x")
    assert type(error) is kind
    assert (error.ntstatus, error.filename) == (status, r"\\host\pipe\x")


def test_a_stream_that_ended_or_failed():
    for status in (DISCONNECTED, BROKEN):
        assert is_end(status)
        assert type(stream_error(status)) is BrokenPipeError
    assert not is_end(CANCELLED)
    assert type(stream_error(CANCELLED)) is ConnectionAbortedError


def test_busy_is_no_end():
    assert not any(map(is_end, BUSY))

"""The bindings to completion ports, on a real kernel."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from npipe.transport.windows.kernel32 import load
from npipe.transport.windows.kernel32.constants import INFINITE, WAIT_TIMEOUT
from npipe.transport.windows.kernel32.memory import address_of, location_of, overlapped
from npipe.transport.windows.winerror import ERROR_INVALID_PARAMETER, ERROR_IO_PENDING

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")

NAME = r"\\.\pipe\npipe-test-ports"


@pytest.fixture
def port() -> Iterator[int]:
    code, port = load().CreateIoCompletionPort(None, 0)
    assert not code
    yield port
    assert not load().CloseHandle(port)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe."""
    api = load()
    code, server = api.CreateNamedPipe(
        NAME, 3 | 0x40000000, 0, instances=255, buffer_size=4096, descriptor=None
    )
    assert not code
    code, client = api.CreateFile(NAME, 0x12019B, 0x40000000)
    assert not code
    yield server, client
    api.CloseHandle(client)
    api.CloseHandle(server)


def test_packets_without_an_operation(port: int) -> None:
    api = load()
    assert api.GetQueuedCompletionStatusEx(port, 0) == (WAIT_TIMEOUT, [])
    assert not api.PostQueuedCompletionStatus(port)
    assert not api.PostQueuedCompletionStatus(port)
    assert api.GetQueuedCompletionStatusEx(port, INFINITE) == (0, [None, None])


def test_a_handle_is_bound_once(port: int, pipe: tuple[int, int]) -> None:
    api = load()
    assert api.CreateIoCompletionPort(pipe[0], port) == (0, port)
    assert api.CreateIoCompletionPort(pipe[0], port) == (ERROR_INVALID_PARAMETER, 0)


@pytest.mark.parametrize(("skips", "event"), [(False, 0), (True, 0), (False, 1)])
def test_which_operations_queue_a_packet(
    port: int, pipe: tuple[int, int], skips: bool, event: int
) -> None:
    """One that pends, and one that ends at once unless skipped; none with an event's low bit."""
    api = load()
    server, client = pipe
    assert api.CreateIoCompletionPort(server, port) == (0, port)
    if skips:
        assert not api.SkipPacketOnSuccess(server)
    _, handle = api.CreateEvent() if event else (0, 0)
    read, read_reference = overlapped(handle | event)
    write, write_reference = overlapped(handle | event)
    buffer = bytearray(5)
    assert api.ReadFile(server, address_of(buffer), 5, read_reference) == ERROR_IO_PENDING
    assert not api.WriteFile(server, b"12345", 5, write_reference)
    other, other_reference = overlapped(0)
    assert not api.WriteFile(client, b"hello", 5, other_reference)
    assert other.Internal == 0
    due = [] if event else [location_of(read)] if skips else [location_of(write), location_of(read)]
    got: list[int | None] = []
    while len(got) < len(due):
        code, packets = api.GetQueuedCompletionStatusEx(port, 10_000)
        assert not code
        got += packets
    assert sorted(map(str, got)) == sorted(map(str, due))
    assert api.GetQueuedCompletionStatusEx(port, 50) == (WAIT_TIMEOUT, [])
    assert (read.Internal, read.InternalHigh, bytes(buffer)) == (0, 5, b"hello")
    if handle:
        api.CloseHandle(handle)


def test_a_cancelled_read_queues_its_packet(port: int, pipe: tuple[int, int]) -> None:
    api = load()
    server, _ = pipe
    assert api.CreateIoCompletionPort(server, port) == (0, port)
    read, reference = overlapped(0)
    buffer = bytearray(5)
    assert api.ReadFile(server, address_of(buffer), 5, reference) == ERROR_IO_PENDING
    assert not api.CancelIoEx(server, None)
    assert api.GetQueuedCompletionStatusEx(port, 10_000) == (0, [location_of(read)])
    assert api.GetOverlappedResult(server, reference, False) == (995, 0)

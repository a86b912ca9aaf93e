"""npipe.transport.posix.sending: the count of an incomplete write."""

from __future__ import annotations

import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.posix.connection import PosixConnection

Pair = tuple[npipe.Connection, npipe.Connection]
NOWHERE = Address("unix", "/nowhere")


def socket_pair() -> tuple[PosixConnection, socket.socket]:
    ours, theirs = socket.socketpair()
    return PosixConnection(ours, NOWHERE), theirs


def test_b05_a_cut_write_tells_the_exact_count(pair: Pair, threads: ThreadPoolExecutor) -> None:
    client, server = pair
    writing = threads.submit(client.write, bytes(8 << 20))
    while not client._out._waiting:
        time.sleep(0)
    client.set_write_deadline(time.monotonic() - 1)
    cut = writing.exception(60)
    assert isinstance(cut, TimeoutError)
    client.close()
    went = cut.characters_written  # type: ignore[attr-defined]
    assert 0 < went < 8 << 20
    assert len(server.read()) == went


def test_b05_every_failed_write_tells_its_count(pair: Pair) -> None:
    client, server = pair
    client.set_write_deadline(0)
    with pytest.raises(TimeoutError) as late:
        client.write(b"x")
    client.set_write_deadline(None)
    server.close()
    with pytest.raises(BrokenPipeError, match="the peer has closed") as gone:
        client.write(b"x")
    client.close()
    with pytest.raises(ClosedError) as closed:
        client.write(memoryview(b"x"))
    for caught in (late, gone, closed):
        assert caught.value.characters_written == 0


def test_a_broken_pipe_is_no_signal() -> None:
    # As `npipe cat | head` would have it: a program that took SIGPIPE back to its default.
    import signal

    ours, theirs = socket_pair()
    theirs.close()
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        with pytest.raises(BrokenPipeError):
            ours.write(b"x")
        with pytest.raises(BrokenPipeError):
            ours.write(bytes(1 << 20))
    finally:
        signal.signal(signal.SIGPIPE, before)
        ours.close()


def test_write_now_writes_what_fits_and_never_waits() -> None:
    connection, other = socket_pair()
    with connection, other:
        data, sent = b"x" * (4 << 20), 0
        while written := connection.write_now(data[sent:]):
            sent += written
        assert 0 < sent < len(data)
        got = 0
        while got < sent:
            got += len(other.recv(1 << 20))
        assert connection.write_now(b"more") == 4


def test_write_now_raises_when_the_other_end_is_gone() -> None:
    connection, other = socket_pair()
    with connection:
        other.close()
        with pytest.raises(BrokenPipeError) as caught:
            connection.write_now(b"x")
        assert caught.value.characters_written == 0


def test_write_of_nothing_is_nothing_also_when_the_other_end_is_gone(pair: Pair) -> None:
    client, server = pair
    server.close()
    assert client.write(b"") == client.write(bytearray()) == 0

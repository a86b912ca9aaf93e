"""npipe.transport.posix.connection: what the conformance suite cannot see from outside."""

from __future__ import annotations

import errno
import gc
import io
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.posix.connection import PosixConnection
from npipe.transport.posix.waiting import Direction
from transport.conftest import nothing_leaked

Pair = tuple[npipe.Connection, npipe.Connection]
NOWHERE = Address("unix", "/nowhere")


def socket_pair() -> tuple[PosixConnection, socket.socket]:
    ours, theirs = socket.socketpair()
    return PosixConnection(ours, NOWHERE), theirs


def test_b01_a_past_deadline_fails_at_once(pair: Pair) -> None:
    client, _ = pair
    for when in (0.0, -1.0, time.monotonic()):
        client.set_deadline(when)
        with pytest.raises(TimeoutError, match="the deadline passed"):
            client.read(1)
        with pytest.raises(TimeoutError):
            client.write(b"x")


def test_b02_setting_a_deadline_wakes_the_call_in_flight(
    pair: Pair, threads: ThreadPoolExecutor
) -> None:
    client, _ = pair
    reading = threads.submit(client.read, 1)
    while not client._in._waiting:  # type: ignore[attr-defined]
        time.sleep(0)
    client.set_read_deadline(time.monotonic() - 1)
    assert isinstance(reading.exception(60), TimeoutError)


def test_b02_a_deadline_set_at_any_moment_is_seen(pair: Pair, threads: ThreadPoolExecutor) -> None:
    client, _ = pair
    for _ in range(20):
        client.set_read_deadline(None)
        reading = threads.submit(client.read, 1)
        client.set_read_deadline(time.monotonic() - 1)
        assert isinstance(reading.exception(60), TimeoutError)


def test_b03_a_past_deadline_fails_a_call_that_could_succeed(pair: Pair) -> None:
    client, server = pair
    server.write(b"data")
    client.set_deadline(time.monotonic() - 1)
    with pytest.raises(TimeoutError):
        client.read(4)
    client.set_deadline(None)
    assert client.read(4) == b"data"


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_b06_timeouts_leak_nothing(path: str) -> None:
    with (
        npipe.listen(path) as listener,
        nothing_leaked(),
        npipe.connect(path) as client,
        listener.accept(10),
    ):
        for _ in range(1000):
            client.set_deadline(time.monotonic() + 0.00001)
            with pytest.raises(TimeoutError):
                client.read(1)
            with pytest.raises(TimeoutError):
                while True:
                    client.write(bytes(65536))


def test_b07_a_descriptor_is_not_closed_under_its_user(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket_pair()
    descriptor = ours.fileno()
    waits, held, go_on = threading.Event(), threading.Event(), threading.Event()
    wait = Direction.wait

    def wait_then_dawdle(self: Direction) -> None:
        waits.set()
        try:
            wait(self)
        finally:
            held.set()
            go_on.wait(60)

    monkeypatch.setattr(Direction, "wait", wait_then_dawdle)
    reading = threads.submit(ours.read, 1)
    assert waits.wait(60)
    ours.close()
    assert held.wait(60)
    os.fstat(descriptor)  # still open: the reader has not left
    go_on.set()
    assert isinstance(reading.exception(60), ClosedError)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    theirs.close()


def test_t11_a_connection_for_which_no_other_descriptor_is_left_is_served_and_woken(
    monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor
) -> None:
    ours, theirs = socket_pair()
    monkeypatch.setattr("npipe.transport.posix.waiting.Waker", no_descriptor)
    for end in ("data", "deadline", "close"):
        reading = threads.submit(ours.read, 1)
        while not ours._in.busy:
            time.sleep(0)
        if end == "data":
            theirs.send(b"x")
            assert reading.result(60) == b"x"
        elif end == "deadline":
            ours.set_read_deadline(time.monotonic() - 1)
            assert isinstance(reading.exception(60), TimeoutError)
            ours.set_read_deadline(None)
        else:
            ours.close()
            assert isinstance(reading.exception(60), ClosedError)
    theirs.close()


def test_b09_a_failure_to_make_a_waker_is_raised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken() -> None:
        raise OSError(errno.EPERM, "no eventfd here")

    ours, theirs = socket_pair()
    monkeypatch.setattr("npipe.transport.posix.waiting.Waker", broken)
    with pytest.raises(OSError, match="no eventfd here"):
        ours.read(1)
    theirs.send(b"x")
    assert ours.read(1) == b"x"
    ours.close()
    theirs.close()


def test_b11_a_reset_is_the_end_for_reads_and_a_broken_pipe_for_writes(pair: Pair) -> None:
    client, server = pair
    client.write(b"never read")
    server.close()
    with pytest.raises(BrokenPipeError):
        client.write(b"x")
    assert client.read(1) == b""


def test_b13_none_lifts_a_deadline(pair: Pair) -> None:
    client, server = pair
    client.set_deadline(0)
    client.set_deadline(None)
    client.write(b"x")
    assert server.read(1) == b"x"


@pytest.mark.parametrize("when", [float("nan"), "soon"])
def test_a_deadline_is_a_number(pair: Pair, when: float) -> None:
    with pytest.raises((ValueError, TypeError)):
        pair[0].set_deadline(when)


def test_a_deadline_may_be_far_away(pair: Pair) -> None:
    client, server = pair
    for when in (1e18, float("inf")):
        client.set_deadline(when)
        server.write(b"x")
        assert client.read(1) == b"x"


def test_b14_a_second_close_closes_no_one_elses_descriptor() -> None:
    ours, theirs = socket_pair()
    descriptor = ours.fileno()
    ours.close()
    again = os.open(os.devnull, os.O_RDONLY)  # takes the lowest number: the one just freed
    assert again == descriptor
    ours.close()
    del ours
    gc.collect()
    os.fstat(again)
    os.close(again)
    theirs.close()


def test_b15_nothing_touches_the_descriptor_after_close() -> None:
    ours, theirs = socket_pair()
    descriptor = ours.fileno()
    ours.close()
    other, far = socket.socketpair()
    assert descriptor in (other.fileno(), far.fileno())
    far.send(b"not yours")
    for call in (lambda: ours.read(9), lambda: ours.write(b"x"), ours.close_write, ours.fileno):
        with pytest.raises(ClosedError, match="this connection has been closed"):
            call()
    assert other.recv(9) == b"not yours"
    for each in (other, far, theirs):
        each.close()


def test_b42_reads_and_writes_have_deadlines_of_their_own(pair: Pair) -> None:
    client, server = pair
    client.set_read_deadline(0)
    assert client.write(b"a slow answer is still written") == 30
    with pytest.raises(TimeoutError):
        client.read(1)
    assert server.read(100) == b"a slow answer is still written"


def test_close_from_a_signal_handler_in_the_middle_of_a_read() -> None:
    # The handler runs in the thread that holds the read lock: close must not wait for it.
    import signal

    ours, theirs = socket_pair()
    before = signal.signal(signal.SIGALRM, lambda *_: ours.close())
    try:
        # Again and again: one that comes just before a system call lets Python call the handler
        # only after it, as it does in any read of any file.
        signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
        with pytest.raises(ClosedError):
            ours.read(1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        theirs.close()


def test_an_idle_connection_costs_one_descriptor() -> None:
    ours, theirs = socket_pair()
    with nothing_leaked():
        theirs.send(b"x")
        ours.set_deadline(time.monotonic() + 60)
        ours.read(1)
        ours.write(b"x")
    ours.close()
    theirs.close()


def test_forgetting_to_close_is_told_and_mended() -> None:
    ours, theirs = socket_pair()
    with pytest.warns(ResourceWarning, match="unclosed <PosixConnection /nowhere fd="):
        del ours
        gc.collect()
    assert theirs.recv(1) == b""
    theirs.close()


def test_repr() -> None:
    ours, theirs = socket_pair()
    assert repr(ours) == f"<PosixConnection /nowhere fd={ours.fileno()}>"
    ours.close()
    assert repr(ours) == "<PosixConnection /nowhere closed>"
    theirs.close()


def no_descriptor() -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


# Reading and writing without waiting


def test_read_now_and_write_now_leave_a_call_in_another_thread_alone(
    threads: ThreadPoolExecutor,
) -> None:
    connection, other = socket_pair()
    with other:
        reading = threads.submit(connection.read, 10)
        while not connection._in.busy:
            time.sleep(0)
        assert connection.read_now(10) is None
        other.send(b"its")
        assert reading.result(60) == b"its"
        connection.close()


def test_read_now_and_write_now_after_close() -> None:
    connection, other = socket_pair()
    with other:
        connection.close_write()
        with pytest.raises(ClosedError, match="write side"):
            connection.write_now(b"x")
        connection.close()
        with pytest.raises(ClosedError):
            connection.read_now(1)
        with pytest.raises(ClosedError):
            connection.write_now(b"x")


def test_unlocked_functions_transfer_what_the_locked_ones_would() -> None:
    connection, other = socket_pair()
    with other, connection:
        receive, send = connection.unlocked()
        assert send(b"to", socket.MSG_DONTWAIT) == 2
        assert other.recv(10) == b"to"
        with pytest.raises(BlockingIOError):
            receive(10, socket.MSG_DONTWAIT)
        other.send(b"back")
        assert receive(10, socket.MSG_DONTWAIT) == b"back"


def test_unlocked_functions_return_what_a_read_to_the_end_had_got() -> None:
    connection, other = socket_pair()
    with other, connection:
        other.send(b"kept")
        connection.set_read_deadline(time.monotonic() + 0.01)
        with pytest.raises(TimeoutError):
            connection.readall()
        receive, _ = connection.unlocked()
        assert receive(10, socket.MSG_DONTWAIT) == b"kept"
        assert receive(10, socket.MSG_DONTWAIT) is None


def test_a_connection_that_cannot_be_selected_says_so() -> None:
    from npipe.transport.memory import memory_pair

    ours, theirs = memory_pair()
    with ours, theirs:
        assert not ours.selectable
        with pytest.raises(io.UnsupportedOperation):
            ours.read_now(1)
        with pytest.raises(io.UnsupportedOperation):
            ours.write_now(b"x")


# Waiting without reading, giving the descriptor away, one direction


def test_wait_readable_tells_what_a_read_would_find(pair: Pair) -> None:
    client, server = pair
    assert not client.wait_readable(0)
    assert not client.wait_readable(0.01)
    server.write(b"x")
    assert client.wait_readable(0)
    assert client.wait_readable()
    client.set_read_deadline(time.monotonic() + 0.02)
    with pytest.raises(TimeoutError):
        client.read()
    client.set_read_deadline(None)
    assert client.wait_readable(0)  # the kept byte, which select() does not see
    assert client.read(9) == b"x"
    client.set_read_deadline(time.monotonic() + 0.01)
    with pytest.raises(TimeoutError):
        client.wait_readable(60)
    client.set_read_deadline(None)
    server.close()
    assert client.wait_readable()
    assert client.read(1) == b""


def test_wait_readable_is_ended_by_close(pair: Pair, threads: ThreadPoolExecutor) -> None:
    client, _ = pair
    waiting = threads.submit(client.wait_readable)
    while not client._in._waiting:  # type: ignore[attr-defined]
        time.sleep(0)
    client.close()
    assert isinstance(waiting.exception(60), ClosedError)


def test_detach_ends_the_calls_and_gives_a_socket_away(
    pair: Pair, threads: ThreadPoolExecutor
) -> None:
    client, server = pair
    calls = [threads.submit(client.read, 1), threads.submit(client.write, bytes(8 << 20))]
    while not (client._in._waiting and client._out._waiting):  # type: ignore[attr-defined]
        time.sleep(0)
    descriptor = client.detach()
    for call in calls:
        assert isinstance(call.exception(60), ClosedError)
    assert client.closed
    client.close()
    with pytest.raises(ClosedError):
        client.detach()
    with socket.socket(fileno=descriptor) as sock:
        server.write(b"for the socket")
        assert os.get_blocking(descriptor)
        assert sock.recv(99) == b"for the socket"


def test_detach_refuses_to_lose_what_a_read_kept(pair: Pair) -> None:
    client, server = pair
    server.write(b"kept")
    client.set_read_deadline(time.monotonic() + 0.02)
    with pytest.raises(TimeoutError):
        client.read()
    with pytest.raises(ValueError, match="read them before detach"):
        client.detach()
    client.set_read_deadline(None)
    assert client.read(9) == b"kept"
    os.close(client.detach())


def test_a_connection_of_one_direction(path: str) -> None:
    with npipe.listen(path, mode="w") as listener, npipe.connect(path, mode="r") as client:
        with listener.accept(10) as server:
            assert (client.mode, server.mode) == ("r", "w")
            assert client.readable()
            assert not client.writable()
            assert not server.readable()
            assert server.write(b"news") == 4
            assert client.read(9) == b"news"
            calls = (
                lambda: client.write(b"x"),
                client.close_write,
                lambda: server.read(1),
                server.read,
                lambda: server.readinto(bytearray(1)),
                server.wait_readable,
            )
            for call in calls:
                with pytest.raises(io.UnsupportedOperation, match="this end of the connection"):
                    call()
        assert client.read() == b""

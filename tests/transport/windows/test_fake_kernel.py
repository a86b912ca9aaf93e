"""The Windows backend on a kernel in memory: faults on demand, and what Wine does not enforce.

Runs on every system. Each test ends with the ledger: every handle and descriptor given back,
once. Each B number is a bug of the seed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import pytest

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport.windows import connect as windows
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.kernel32 import (
    FILE_FLAG_FIRST_PIPE_INSTANCE,
    FILE_FLAG_OVERLAPPED,
    PIPE_REJECT_REMOTE_CLIENTS,
    PIPE_TYPE_MESSAGE,
    SECURITY_SQOS_PRESENT,
)
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.overlapped import Direction
from transport.conftest import no_thread_left
from transport.windows.fake_kernel32 import GROUP, OTHER, USER, FakeKernel32

ADDRESS = Address("pipe", r"\\.\pipe\test")
Pair = tuple[WindowsConnection, WindowsConnection]
Spawn = Callable[..., Future[Any]]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Run a function in a thread; its future gives the result, or raises what it raised."""
    with ThreadPoolExecutor(max_workers=40) as pool:
        yield pool.submit


@pytest.fixture
def fake() -> Iterator[FakeKernel32]:
    fake = FakeKernel32()
    yield fake
    assert fake.faults == []
    assert fake.ledger == {"handles": 0, "descriptors": 0}


@pytest.fixture
def listener(fake: FakeKernel32) -> Iterator[WindowsListener]:
    with windows.listen(ADDRESS, api=fake) as listener:
        yield listener


@pytest.fixture
def pair(fake: FakeKernel32, listener: WindowsListener) -> Iterator[Pair]:
    with connect(fake) as client, listener.accept(60) as server:
        yield client, server


@pytest.fixture
def message_pair(fake: FakeKernel32) -> Iterator[Pair]:
    listener = windows.listen(ADDRESS, message_mode=True, api=fake)
    with listener, connect(fake) as client, listener.accept(60) as server:
        yield client, server


def connect(fake: FakeKernel32, **options: Any) -> WindowsConnection:
    return windows.connect(ADDRESS, api=fake, **options)


def listen(fake: FakeKernel32, **options: Any) -> WindowsListener:
    return windows.listen(ADDRESS, api=fake, **options)


def past() -> float:
    return time.monotonic() - 1


def soon() -> float:
    return time.monotonic() + 0.02


# -- deadlines


def test_b01_past_deadline_fails_at_once(pair: Pair) -> None:
    client, _ = pair
    client.set_deadline(past())
    with pytest.raises(TimeoutError):
        client.read(1)
    with pytest.raises(TimeoutError) as caught:
        client.write(b"x")
    assert caught.value.characters_written == 0  # type: ignore[attr-defined]


def test_b02_new_deadline_reaches_the_call_in_flight(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, _ = pair
    reading = spawn(client.read, 1)
    fake.pending()
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError):
        reading.result(60)


def test_b02_a_deadline_put_off_does_not_cut_a_write(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    client.set_write_deadline(time.monotonic() + 600)
    writing = spawn(client.write, bytes(100_000))
    fake.pending()
    client.set_write_deadline(time.monotonic() + 1200)
    fake.until(lambda: fake.made("ResetEvent"))  # or it would go on without ever waiting
    client.set_write_deadline(None)
    assert sum(len(server.read(65536)) for _ in range(2)) == 100_000
    assert writing.result(60) == 100_000
    assert fake.made("CancelIoEx") == []


def test_b03_past_deadline_fails_what_could_succeed(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    server.write(b"here already")
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError):
        client.read(1)
    assert fake.made("ReadFile") == []
    client.set_read_deadline(None)
    assert client.read(100) == b"here already"


class SlowCancel:
    """CancelIoEx as it may be: it returns before the operation has ended."""

    def __init__(self, fake: FakeKernel32, spawn: Spawn) -> None:
        self._cancel = fake.CancelIoEx
        self._spawn = spawn
        self.asked, self.end = threading.Event(), threading.Event()

    def __call__(self, handle: int, overlapped: Any) -> int:
        self._spawn(self._later, handle, overlapped)
        self.asked.set()
        return 0

    def _later(self, handle: int, overlapped: Any) -> None:
        self.end.wait(60)
        self._cancel(handle, overlapped)


def test_b04_timed_out_read_awaits_the_cancel(
    fake: FakeKernel32, pair: Pair, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _ = pair
    slow = SlowCancel(fake, spawn)
    monkeypatch.setattr(fake, "CancelIoEx", slow)
    reading = spawn(client.read, 1)
    fake.pending()
    client.set_read_deadline(past())
    assert slow.asked.wait(60)
    fake.waiting()
    assert not reading.done()
    slow.end.set()
    with pytest.raises(TimeoutError):
        reading.result(60)


def test_b05_bytes_that_beat_the_cancel_are_data(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    fake.hooks["CancelIoEx"] = lambda: server.write(b"just in time") and None
    reading = spawn(client.read, 100)
    fake.pending()
    client.set_read_deadline(past())
    assert reading.result(60) == b"just in time"


def test_b05_a_read_to_the_end_that_timed_out_gives_what_it_had_to_the_next(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    server.write(b"first")
    reading = spawn(client.read)
    fake.pending()
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError):
        reading.result(60)
    client.set_read_deadline(None)
    server.write(b"second")
    server.close()
    assert client.read() == b"firstsecond"


def test_b05_a_write_that_beats_the_cancel_has_gone(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    got: list[bytes] = []
    fake.hooks["CancelIoEx"] = lambda: got.extend([server.read(65536), server.read(65536)])
    writing = spawn(client.write, b"x" * 100_000)
    fake.pending()
    client.set_write_deadline(past())
    assert writing.result(60) == 100_000
    client.set_write_deadline(None)
    assert client.write(b"more") == 4
    assert server.read(100) == b"more"


def test_b05_a_cut_write_tells_no_number_and_poisons_the_write_side(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    """Windows reports 0 bytes although the other end has read some, and drops the rest."""
    client, server = pair
    writing = spawn(client.write, bytes(100_000))
    fake.pending()
    assert len(server.read(100)) == 100
    client.set_write_deadline(past())
    with pytest.raises(TimeoutError) as caught:
        writing.result(60)
    assert not hasattr(caught.value, "characters_written")
    client.set_write_deadline(None)
    with pytest.raises(BrokenPipeError, match="cut") as poisoned:
        client.write(b"x")
    assert poisoned.value.characters_written == 0  # type: ignore[attr-defined]
    server.write(b"reading goes on")
    assert client.read(100) == b"reading goes on"


def test_b05_a_deadline_between_two_parts_tells_how_much_went(
    pair: Pair, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A big write goes in parts of 1 MiB; cut between two, it is known what went."""
    client, server = pair
    reading = spawn(lambda: b"".join(server.read(65536) for _ in range(16)))
    transfer = Direction.transfer

    def late(lane: Direction, function: Any, buffer: Any, size: int) -> tuple[int, int]:
        result = transfer(lane, function, buffer, size)
        if size == 1 << 20:
            lane.set_deadline(past())
        return result

    monkeypatch.setattr(Direction, "transfer", late)
    with pytest.raises(TimeoutError) as caught:
        client.write(bytes(3 << 20))
    assert caught.value.characters_written == 1 << 20  # type: ignore[attr-defined]
    assert len(reading.result(60)) == 1 << 20
    client.set_write_deadline(None)
    assert client.write(b"goes on") == 7


def test_b06_b08_b12_no_thread_and_no_event_per_call(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    ledger, made = fake.ledger, len(fake.made("CreateEvent"))
    with no_thread_left():
        for _ in range(100):
            client.set_read_deadline(time.monotonic() + 0.0001)
            with pytest.raises(TimeoutError):
                client.read(1)
            server.write(b"x")
            client.set_read_deadline(None)
            assert client.read(1) == b"x"
    assert fake.ledger == ledger
    assert len(fake.made("CreateEvent")) == made


def test_b13_lifted_deadline(pair: Pair) -> None:
    client, server = pair
    client.set_deadline(past())
    client.set_deadline(None)
    server.write(b"x")
    assert client.read(1) == b"x"


def test_nan_is_no_deadline(pair: Pair) -> None:
    with pytest.raises(ValueError, match="NaN"):
        pair[0].set_deadline(float("nan"))


# -- errors of the kernel


@pytest.mark.parametrize("call", range(6))
def test_b09_no_event_to_be_had(fake: FakeKernel32, call: int) -> None:
    """Wherever the system has no event left, the error is seen and nothing is leaked."""
    fake.fail("CreateEvent", *[0] * call, 8)
    with pytest.raises(OSError, match="8"):  # noqa: SIM117
        with listen(fake, backlog=2) as listener, connect(fake), listener.accept(0.001):
            fake.fail("CreateEvent", 8)
            connect(fake)


def test_b10_counts_come_from_the_overlapped_result(fake: FakeKernel32, message_pair: Pair) -> None:
    client, server = message_pair
    client.write(b"0123456789")
    assert [server.read(4) for _ in range(3)] == [b"0123", b"4567", b"89"]


@pytest.mark.parametrize("code", [109, 233])
def test_b11_ends_of_the_stream(fake: FakeKernel32, pair: Pair, code: int) -> None:
    client, _ = pair
    fake.fail("ReadFile", code)
    assert client.read(1) == b""
    assert client.read(1) == b""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (64, ConnectionResetError),
        (109, BrokenPipeError),
        (232, BrokenPipeError),
        (233, BrokenPipeError),
        (1450, OSError),
    ],
)
def test_b11_failed_writes(
    fake: FakeKernel32, pair: Pair, code: int, expected: type[OSError]
) -> None:
    client, _ = pair
    fake.fail("WriteFile", code)
    with pytest.raises(expected) as caught:
        client.write(b"x")
    assert caught.value.characters_written == 0  # type: ignore[attr-defined]


def test_b11_lost_network_is_no_end(fake: FakeKernel32, pair: Pair) -> None:
    fake.fail("ReadFile", 64)
    with pytest.raises(ConnectionResetError):
        pair[0].read(1)


def test_b11_disconnected_by_the_server(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    fake.DisconnectNamedPipe(server.fileno())
    assert client.read(1) == b""
    with pytest.raises(BrokenPipeError):
        client.write(b"x")


# -- interrupts


def interrupt() -> None:
    raise KeyboardInterrupt


def test_interrupted_read_loses_no_byte(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair

    def data_then_interrupt() -> None:
        server.write(b"came with ctrl-c")
        interrupt()

    fake.hooks["WaitForMultipleObjects"] = data_then_interrupt
    with pytest.raises(KeyboardInterrupt):
        client.readinto(bytearray(100))
    assert client.read(4) == b"came"
    buffer = bytearray(100)
    assert client.readinto(buffer) == 12


def test_interrupted_read_is_cancelled(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    fake.hooks["WaitForMultipleObjects"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.read(1)
    assert len(fake.made("CancelIoEx")) == 1
    server.write(b"x")
    assert client.read(1) == b"x"


def test_interrupt_before_the_call_brings_nothing_back(
    fake: FakeKernel32, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    server.write(b"12345678")
    assert client.read(64) == b"12345678"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fake, "ReadFile", lambda *_: interrupt())
        client.read(64)
    server.write(b"next")
    assert client.read(64) == b"next"


def test_interrupt_of_a_read_does_not_repeat_an_earlier_one(
    fake: FakeKernel32, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair

    def data_then_interrupt() -> None:
        server.write(b"once")
        interrupt()

    fake.hooks["WaitForMultipleObjects"] = data_then_interrupt
    with pytest.raises(KeyboardInterrupt):
        client.read(64)
    fake.hooks.clear()
    assert client.read(64) == b"once"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Direction, "transfer", lambda *_: interrupt())
        client.read(64)
    server.write(b"next")
    assert client.read(64) == b"next"


def test_second_interrupt_leaves_no_operation_behind(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair

    def press_once_more() -> None:
        fake.hooks.clear()
        interrupt()

    fake.hooks["WaitForMultipleObjects"] = interrupt
    fake.hooks["CancelIoEx"] = press_once_more
    buffer = bytearray(8)
    with pytest.raises(KeyboardInterrupt):
        client.readinto(buffer)
    server.write(b"XXXX")
    assert buffer == bytes(8)
    assert client.read(8) == b"XXXX"


def test_interrupted_write_that_was_not_begun_poisons_nothing(
    fake: FakeKernel32, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    client.write(b"abc")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fake, "WriteFile", lambda *_: interrupt())
        client.write(b"lost")
    client.write(b"def")
    assert server.read(3) + server.read(3) == b"abcdef"


def test_has_gone_does_not_wait_for_a_read(fake: FakeKernel32, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    reading = spawn(client.read, 1)
    fake.pending()
    assert not client.has_gone()
    server.write(b"x")
    assert reading.result(60) == b"x"


@pytest.mark.parametrize("forever", [60 * 86400, 1e10, float("inf")])
def test_b27_accept_for_many_days(
    fake: FakeKernel32,
    listener: WindowsListener,
    spawn: Spawn,
    monkeypatch: pytest.MonkeyPatch,
    forever: float,
) -> None:
    monkeypatch.setattr(threading, "TIMEOUT_MAX", 4294967.0)  # as on Windows
    accepting = spawn(listener.accept, forever)
    with connect(fake), accepting.result(60):
        pass


def test_interrupted_write_poisons(fake: FakeKernel32, pair: Pair) -> None:
    client, _ = pair
    fake.hooks["WaitForMultipleObjects"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.write(bytes(100_000))
    with pytest.raises(BrokenPipeError, match="cut"):
        client.write(b"x")


def test_signal_handler_closes_what_its_thread_reads(fake: FakeKernel32, pair: Pair) -> None:
    client, _ = pair
    fake.hooks["WaitForMultipleObjects"] = client.close
    with pytest.raises(ClosedError):
        client.read(1)


def test_signal_handler_closes_just_before_the_read_begins(fake: FakeKernel32, pair: Pair) -> None:
    client, _ = pair
    fake.hooks["ReadFile"] = client.close
    with pytest.raises(ClosedError):
        client.read(1)


def test_signal_handler_closes_the_listener_that_its_thread_accepts_on(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    fake.hooks["WaitForMultipleObjects"] = listener.close
    with pytest.raises(ClosedError):
        listener.accept()


# -- close


def test_b07_b17_b18_close_leaves_nothing_pending_and_no_event_to_wait_for(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, _ = pair
    reading = spawn(client.read, 1)
    writing = spawn(client.write, bytes(100_000))
    fake.pending(2)
    client.close()  # the fixture looks for handles closed under a waiter or an operation
    for call in (reading, writing):
        with pytest.raises(ClosedError):
            call.result(60)


def after(first: Callable[[], None], call: Callable[[int], int]) -> Callable[[int], int]:
    """Return the call with something done before it; a hook would do it under the fake's lock."""
    todo = [first]

    def both(handle: int) -> int:
        if todo:
            todo.pop()()
        return call(handle)

    return both


def test_b07_no_wake_reaches_an_event_that_is_closed_by_then(
    fake: FakeKernel32, pair: Pair, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read ends, and gives the handles back, while close is about to wake it."""
    client, server = pair
    reading = spawn(client.read, 1)
    fake.pending()

    def let_it_end() -> None:
        server.write(b"x")
        wait([reading], 0.2)

    monkeypatch.setattr(fake, "SetEvent", after(let_it_end, fake.SetEvent))
    client.close()
    assert reading.result(60) == b"x"


def test_b07_no_wake_reaches_the_event_of_a_listener_that_is_closed_by_then(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting = spawn(listener.accept)
    fake.waiting()
    clients: list[WindowsConnection] = []

    def let_it_end() -> None:
        clients.append(connect(fake))
        wait([accepting], 0.2)

    monkeypatch.setattr(fake, "SetEvent", after(let_it_end, fake.SetEvent))
    listener.close()
    with contextlib.suppress(ClosedError):
        accepting.result(60).close()
    clients[0].close()


def test_b14_double_close_closes_each_handle_once(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, _ = pair
    for closing in [spawn(client.close) for _ in range(10)]:
        closing.result(60)
    client.close()
    assert client.closed


def test_b15_no_call_reaches_the_kernel_after_close(fake: FakeKernel32, pair: Pair) -> None:
    client, _ = pair
    client.close()
    before = len(fake.calls)
    for call in (client.read, client.flush, client.close_write, client.fileno):
        with pytest.raises(ClosedError):
            call()
    with pytest.raises(ClosedError):
        client.write(b"x")
    with pytest.raises(ClosedError):
        _ = client.peer
    assert len(fake.calls) == before


def test_close_does_not_disconnect(fake: FakeKernel32, pair: Pair) -> None:
    """DisconnectNamedPipe would take from the client what it has not read yet."""
    client, server = pair
    server.write(b"last words")
    server.close()
    assert fake.made("DisconnectNamedPipe") == []
    assert client.read() == b"last words"


# -- the listener


def test_b16_close_wakes_an_accept(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn
) -> None:
    accepting = spawn(listener.accept)
    fake.waiting()
    listener.close()
    with pytest.raises(ClosedError):
        accepting.result(60)


def test_b19_close_while_a_client_has_just_come(fake: FakeKernel32) -> None:
    listener = listen(fake)
    with pytest.raises(TimeoutError):
        listener.accept(0)
    client = connect(fake)  # its instance is no longer pending: CancelIoEx says NOT_FOUND
    listener.close()
    assert client.read(1) == b""
    client.close()


def test_b18_close_awaits_what_it_cancelled(
    fake: FakeKernel32, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = listen(fake)
    with pytest.raises(TimeoutError):
        listener.accept(0)
    slow = SlowCancel(fake, spawn)
    monkeypatch.setattr(fake, "CancelIoEx", slow)
    closing = spawn(listener.close)
    assert slow.asked.wait(60)
    slow.end.set()
    closing.result(60)  # the fixture looks for handles closed with an operation pending


def test_b20_accept_after_close(listener: WindowsListener) -> None:
    listener.close()
    listener.close()
    with pytest.raises(ClosedError):
        listener.accept()
    assert list(listener) == []


def test_b21_close_wakes_every_accept(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn
) -> None:
    accepting = [spawn(listener.accept) for _ in range(5)]
    fake.waiting()
    listener.close()
    for each in accepting:
        with pytest.raises(ClosedError):
            each.result(60)


def test_b21_several_accepts_each_get_a_client(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn
) -> None:
    accepting = [spawn(listener.accept) for _ in range(5)]
    clients = [connect(fake, timeout=60) for _ in range(5)]
    servers = [each.result(60) for each in accepting]
    for number, client in enumerate(clients):
        client.write(bytes([number]))
    assert sorted(server.read(1)[0] for server in servers) == list(range(5))
    for each in clients + servers:
        each.close()


@pytest.mark.parametrize("watched", [False, True])
def test_b22_clients_that_came_and_went_cost_nothing(
    fake: FakeKernel32, listener: WindowsListener, watched: bool
) -> None:
    if watched:  # ConnectNamedPipe is pending; else it will say NO_DATA
        with pytest.raises(TimeoutError):
            listener.accept(0)
    before, created = fake.ledger, len(fake.made("CreateNamedPipe"))
    for _ in range(20):
        connect(fake).close()
        with pytest.raises(TimeoutError):
            listener.accept(0)
    assert (fake.ledger, len(fake.made("CreateNamedPipe"))) == (before, created)
    with connect(fake) as client, listener.accept(60) as server:
        client.write(b"x")
        assert server.read(1) == b"x"


@pytest.mark.parametrize("watched", [False, True])
def test_b22_a_client_that_left_data_is_served(
    fake: FakeKernel32, listener: WindowsListener, watched: bool
) -> None:
    if watched:
        with pytest.raises(TimeoutError):
            listener.accept(0)
    with connect(fake) as client:
        client.write(b"fire and forget")
    with listener.accept(60) as server:
        assert server.read() == b"fire and forget"


def test_b22_an_accept_that_polls_finds_the_client_behind_those_that_left(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    with pytest.raises(TimeoutError):
        listener.accept(0)
    gone = [connect(fake) for _ in range(3)]
    with connect(fake) as client:
        for each in gone:
            each.close()
        with listener.accept(0) as server:
            client.write(b"x")
            assert server.read(1) == b"x"


def test_b22_a_failed_accept_leaks_no_instance(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    before = fake.ledger
    fake.fail("ConnectNamedPipe", 87)
    with pytest.raises(OSError, match="87"):
        listener.accept(0)
    assert fake.ledger == before
    with connect(fake), listener.accept(60):
        pass


def test_b23_the_name_never_vanishes(fake: FakeKernel32, listener: WindowsListener) -> None:
    """At no call of an accept is there no instance free for the next client."""
    assert len(fake.made("CreateNamedPipe")) >= 2
    free: list[bool] = []

    class Watcher(dict[str, Callable[[], None]]):
        def pop(self, call: str, default: Any = None) -> Any:  # type: ignore[override]
            if call not in ("WaitNamedPipe", "CreateFile"):
                free.append(windows.exists(ADDRESS, api=fake))
            return default

    fake.hooks = Watcher()
    for _ in range(10):
        with connect(fake), listener.accept(60):
            pass
    fake.hooks = {}
    assert len(free) > 100
    assert all(free)


def test_b23_the_last_seat_is_kept_while_the_system_is_full(
    fake: FakeKernel32, spawn: Spawn
) -> None:
    with listen(fake, backlog=2) as listener:
        fake.fail("CreateNamedPipe", *[1450] * 4)
        clients = [connect(fake) for _ in range(2)]
        first = listener.accept(60)  # one seat is left, and a client sits on it
        assert windows.exists(ADDRESS, api=fake)
        second = listener.accept(60)  # waits until the system has room again
        assert len(fake.made("CreateNamedPipe")) >= 2 + 4 + 1
        for each in [*clients, first, second]:
            each.close()


def test_accept_waits_out_a_lack_of_events(fake: FakeKernel32, listener: WindowsListener) -> None:
    with connect(fake) as client:
        fake.fail("CreateEvent", 0, 1450, 1450)
        with listener.accept(60) as server:
            client.write(b"x")
            assert server.read(1) == b"x"


def test_accept_tells_an_error_that_waiting_does_not_cure(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    with connect(fake), pytest.raises(PermissionError):
        fake.fail("CreateNamedPipe", 5)
        listener.accept(60)


def test_b24_the_name_is_exclusive(fake: FakeKernel32, listener: WindowsListener) -> None:
    with pytest.raises(OSError, match="served already") as caught:
        listen(fake)
    assert caught.value.errno == errno.EADDRINUSE
    assert caught.value.filename == ADDRESS.path
    first, *later = [mode for _, mode, *_ in fake.made("CreateNamedPipe")]
    assert first & FILE_FLAG_FIRST_PIPE_INSTANCE
    assert later
    assert not any(mode & FILE_FLAG_FIRST_PIPE_INSTANCE for mode in later)
    assert all(mode & FILE_FLAG_OVERLAPPED for mode in (first, *later))


def test_b24_the_kernel_decides_a_race_for_the_name(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    fake.fail("WaitNamedPipe", 2)  # the other one came after we had looked
    with pytest.raises(OSError) as caught:
        listen(fake)
    assert caught.value.errno == errno.EADDRINUSE


def test_b24_windows_decides_where_nobody_can_be_asked(fake: FakeKernel32) -> None:
    fake.fail("WaitNamedPipe", 50)
    with listen(fake) as listener:
        fake.fail("WaitNamedPipe", 50, 50)
        with pytest.raises(PermissionError):
            listen(fake)
        with connect(fake), listener.accept(60):
            pass


def test_b24_denied_is_not_in_use(fake: FakeKernel32) -> None:
    fake.fail("CreateNamedPipe", 5)
    with pytest.raises(PermissionError):
        listen(fake)


def test_b25_a_timed_out_accept_keeps_its_instance(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            listener.accept(0.001)
    assert fake.made("CancelIoEx") == []
    with connect(fake), listener.accept(60):
        pass


def test_b25_an_aborted_instance_is_watched_again(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    """Windows ends what a thread began when the thread ends; a client may come in between."""
    with pytest.raises(TimeoutError):
        listener.accept(0)
    fake.abort_connects()
    with connect(fake) as client, listener.accept(60) as server:
        client.write(b"x")
        assert server.read(1) == b"x"
    fake.abort_connects()
    with pytest.raises(TimeoutError):
        listener.accept(0.05)


# -- connecting


def test_b26_no_server_fails_at_once(fake: FakeKernel32) -> None:
    with pytest.raises(FileNotFoundError):
        connect(fake)
    assert len(fake.made("CreateFile")) == 1


def test_b26_waiting_for_a_server_ends(fake: FakeKernel32) -> None:
    with pytest.raises(TimeoutError, match="no server came"):
        connect(fake, wait=True, timeout=0.01)


def test_b26_a_server_that_comes_late(fake: FakeKernel32, spawn: Spawn) -> None:
    connecting = spawn(connect, fake, wait=True, timeout=10)
    with listen(fake) as listener, listener.accept(10):
        connecting.result(60).close()


def test_b27_b28_busy_is_waited_for_without_wait_named_pipe(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    looked = len(fake.made("WaitNamedPipe"))
    fake.fail("CreateFile", 231, 231, 231)
    with connect(fake, timeout=60), listener.accept(60):
        pass
    assert len(fake.made("CreateFile")) == 4
    assert len(fake.made("WaitNamedPipe")) == looked


def test_b27_busy_for_ever_times_out(fake: FakeKernel32, listener: WindowsListener) -> None:
    fake.fail("CreateFile", *[231] * 1000)
    with pytest.raises(TimeoutError, match="stayed busy"):
        connect(fake, timeout=0.01)


@pytest.mark.parametrize("timeout", [0, -1])
def test_b28_no_time_left_still_tries_once(
    fake: FakeKernel32, listener: WindowsListener, timeout: float
) -> None:
    with connect(fake, timeout=timeout), listener.accept(60):
        pass


@pytest.mark.parametrize("code", [123, 161])
def test_b29_a_bad_name_is_a_value_error(fake: FakeKernel32, code: int) -> None:
    fake.fail("CreateFile", code)
    with pytest.raises(ValueError, match="bad address"):
        connect(fake)


FAR = Address("pipe", r"\\far\pipe\test", "far")


class HangingNetwork:
    """CreateFile as it may be with another computer: it hangs until CancelSynchronousIo ends it."""

    def __init__(self, result: tuple[int, int]) -> None:
        self._result = result
        self.cancelled = threading.Event()

    def open(self, *_: Any) -> tuple[int, int]:
        assert self.cancelled.wait(60)
        return self._result

    def cancel(self, _: int) -> int:
        self.cancelled.set()
        return 0


def test_b30_another_computer_is_given_up_in_time(
    fake: FakeKernel32, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = HangingNetwork((995, 0))
    monkeypatch.setattr(fake, "CreateFile", network.open)
    monkeypatch.setattr(fake, "CancelSynchronousIo", network.cancel)
    with pytest.raises(TimeoutError, match="did not answer"):
        windows.connect(FAR, timeout=0.01, api=fake)


@pytest.mark.parametrize("too_late", [False, True])
def test_b30_another_computer_is_given_up_at_ctrl_c(
    fake: FakeKernel32,
    listener: WindowsListener,
    monkeypatch: pytest.MonkeyPatch,
    too_late: bool,
) -> None:
    """Also when it answers just then: its handle is closed."""
    opened = fake.CreateFile(ADDRESS.path, 0x12019B, FILE_FLAG_OVERLAPPED) if too_late else (995, 0)
    network = HangingNetwork(opened)
    monkeypatch.setattr(fake, "CreateFile", network.open)
    monkeypatch.setattr(fake, "CancelSynchronousIo", network.cancel)
    monkeypatch.setattr(windows, "milliseconds", lambda _: interrupt())
    with pytest.raises(KeyboardInterrupt):
        windows.connect(FAR, timeout=10, api=fake)
    assert network.cancelled.is_set()


def test_b30_another_computer_is_reached(fake: FakeKernel32) -> None:
    with pytest.raises(FileNotFoundError):
        windows.connect(FAR, timeout=10, api=fake)


def test_connect_leaves_no_handle_when_the_pipe_cannot_be_asked(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    fake.fail("GetNamedPipeInfo", 230)
    with pytest.raises(OSError):
        connect(fake)


# -- security


def test_b31_owner_only_by_default(fake: FakeKernel32, listener: WindowsListener) -> None:
    descriptors = {sddl for _, _, _, sddl in fake.made("CreateNamedPipe")}
    assert descriptors == {f"O:{USER}D:P(A;;FA;;;{USER})(A;;FA;;;SY)"}
    fake.user = OTHER
    with pytest.raises(PermissionError):
        connect(fake)


def test_b31_everyone_may_connect_but_not_serve(fake: FakeKernel32) -> None:
    with listen(fake, access="everyone") as listener:
        fake.user = OTHER
        with connect(fake), listener_as(fake, USER, listener):
            pass
        fake.fail("WaitNamedPipe", 2)
        with pytest.raises(OSError):
            listen(fake)  # not even without the flag that makes the name exclusive:
        assert not fake._granted(fake.made("CreateNamedPipe")[0][3]) & 0x4


def listener_as(fake: FakeKernel32, user: str, listener: WindowsListener) -> WindowsConnection:
    me, fake.user = fake.user, user
    try:
        return listener.accept(60)
    finally:
        fake.user = me


def test_b31_group_names_the_primary_group(fake: FakeKernel32) -> None:
    with listen(fake, access="group"):
        assert fake.made("CreateNamedPipe")[0][3].endswith(f"(A;;0x12019b;;;{GROUP})")


def test_b31_own_descriptor_passes_as_it_is(fake: FakeKernel32) -> None:
    own = f"D:P(A;;FA;;;{USER})(A;;0x12019b;;;BA)"
    with listen(fake, access=own):
        assert {sddl for _, _, _, sddl in fake.made("CreateNamedPipe")} == {own}


def test_b31_own_descriptor_that_locks_out_the_server_itself(fake: FakeKernel32) -> None:
    with pytest.raises(PermissionError, match=USER):
        listen(fake, access="D:P(A;;FA;;;BA)")


@pytest.mark.parametrize("access", ["D:nonsense", "owners", "", 0o600, None])
def test_bad_access(fake: FakeKernel32, access: Any) -> None:
    with pytest.raises(ValueError, match="access="):
        listen(fake, access=access)


def test_b32_remote_clients_are_refused(fake: FakeKernel32) -> None:
    fake.remote = True
    with listen(fake), pytest.raises(PermissionError):
        connect(fake)
    with listen(fake, reject_remote=False) as listener, connect(fake), listener.accept(60):
        pass


OPTIONS = list(
    itertools.product(["owner", "everyone"], [False, True], [False, True], [0, 512, 65536])
)


@pytest.mark.parametrize(("access", "message_mode", "reject_remote", "buffer_size"), OPTIONS)
def test_b32_no_option_resets_another(
    fake: FakeKernel32, access: str, message_mode: bool, reject_remote: bool, buffer_size: int
) -> None:
    """And every instance is made like the first, the later ones too."""
    options = {"access": access, "message_mode": message_mode, "reject_remote": reject_remote}
    with listen(fake, buffer_size=buffer_size, **options) as listener:
        with connect(fake), listener.accept(60) as server:
            assert fake.GetNamedPipeInfo(server.fileno())[2:] == (buffer_size, buffer_size)
        made = fake.made("CreateNamedPipe")
    assert len(made) > 4
    for _, _, pipe_mode, sddl in made:
        assert bool(pipe_mode & PIPE_TYPE_MESSAGE) is message_mode
        assert bool(pipe_mode & PIPE_REJECT_REMOTE_CLIENTS) is reject_remote
        assert ("WD" in sddl) is (access == "everyone")


@pytest.mark.parametrize(
    ("level", "bits"),
    [("anonymous", 0), ("identification", 1), ("impersonation", 2), ("delegation", 3)],
)
def test_b33_the_server_may_only_do_what_we_let_it(
    fake: FakeKernel32, listener: WindowsListener, level: Any, bits: int
) -> None:
    with connect(fake, impersonation=level), listener.accept(60):
        pass
    _, access, flags = fake.made("CreateFile")[0]
    assert flags & SECURITY_SQOS_PRESENT
    assert flags >> 16 & 0x3 == bits
    assert flags & FILE_FLAG_OVERLAPPED
    assert not access & 0x4  # the right to make instances is not asked for


def test_b33_identification_by_default_and_no_other_words(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    with connect(fake), listener.accept(60):
        pass
    assert fake.made("CreateFile")[0][2] >> 16 & 0x3 == 1
    with pytest.raises(ValueError, match="impersonation="):
        connect(fake, impersonation="none")  # type: ignore[arg-type]


def test_b34_a_squatter_is_turned_down_before_a_byte_is_sent(fake: FakeKernel32) -> None:
    fake.user = OTHER
    with listen(fake, access="everyone"):
        fake.user = USER
        with pytest.raises(PermissionError, match=OTHER):
            connect(fake, verify_server="owner")
        assert fake.made("WriteFile") == []
        fake.user = OTHER
        with connect(fake, verify_server="owner"):
            pass


@pytest.mark.parametrize("owner", ["S-1-5-18", "S-1-5-32-544"])
def test_b34_the_system_and_administrators_are_trusted(fake: FakeKernel32, owner: str) -> None:
    with listen(fake, access=f"O:{owner}D:P(A;;FA;;;{USER})"), connect(fake, verify_server="owner"):
        pass


@pytest.mark.parametrize("code", [0, 5])
def test_b34_no_known_owner_is_not_trusted(fake: FakeKernel32, code: int) -> None:
    with listen(fake, access=f"D:P(A;;FA;;;{USER})"), pytest.raises(PermissionError):
        fake.fail("pipe_owner", code)
        connect(fake, verify_server="owner")


def test_b34_a_function_decides(fake: FakeKernel32, listener: WindowsListener) -> None:
    seen: list[PeerIdentity] = []

    def check(peer: PeerIdentity) -> bool:
        seen.append(peer)
        return len(seen) == 1

    connect(fake, verify_server=check).close()
    with pytest.raises(PermissionError):
        connect(fake, verify_server=check)
    assert seen[0] == PeerIdentity(pid=4321, sid=USER, session=1)
    with pytest.raises(ValueError, match="verify_server="):
        connect(fake, verify_server="root")  # type: ignore[arg-type]


def test_b34_the_peer(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    assert client.peer == server.peer == PeerIdentity(pid=4321, sid=USER, session=1)
    assert len(fake.made("client_sid")) == 1
    assert server.peer.sid == USER
    assert len(fake.made("client_sid")) == 1  # asked once
    client.close()
    assert client.peer.sid == USER


@pytest.mark.parametrize("code", [1368, 1347])
def test_b34_a_sid_that_is_not_known_yet_is_asked_for_again(
    fake: FakeKernel32, pair: Pair, code: int
) -> None:
    _, server = pair
    fake.fail("client_sid", code)
    assert server.peer.sid is None
    assert server.peer.pid == 4321
    assert server.peer.sid == USER


# -- message mode, flush, adopt


def test_half_close(message_pair: Pair) -> None:
    client, server = message_pair
    client.write(b"question")
    client.close_write()
    client.close_write()
    with pytest.raises(ClosedError):
        client.write(b"x")
    assert server.read() == b"question"
    assert server.read(1) == b""
    server.write(b"answer")
    assert client.read(100) == b"answer"


def test_the_end_mark_is_not_swallowed_with_the_data_before_it(message_pair: Pair) -> None:
    for writer, reader in (message_pair, message_pair[::-1]):
        writer.write(b"data")
        writer.close_write()
        assert reader.read(100) == b"data"
        assert reader.read(100) == b""


def test_an_empty_write_is_no_end_mark(fake: FakeKernel32, message_pair: Pair) -> None:
    client, server = message_pair
    assert client.write(b"") == 0
    assert fake.made("WriteFile") == []
    client.write(b"x")
    assert server.read(10) == b"x"


def test_a_cut_close_write_can_be_repeated(fake: FakeKernel32, message_pair: Pair) -> None:
    client, server = message_pair
    client.set_write_deadline(past())
    with pytest.raises(TimeoutError):
        client.close_write()
    client.set_write_deadline(None)
    client.close_write()
    assert server.read(1) == b""


def test_flush_waits_until_the_other_end_has_read(
    fake: FakeKernel32, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    client.flush()
    client.write(b"12")
    flushing = spawn(client.flush)
    fake.waiting()
    assert server.read(1) == b"1"
    assert not flushing.done()
    assert server.read(1) == b"2"
    flushing.result(60)


def test_flush_goes_by_the_write_deadline(fake: FakeKernel32, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    client.write(b"unread")
    client.set_write_deadline(soon())
    with pytest.raises(TimeoutError):
        client.flush()
    client.set_write_deadline(None)
    flushing = spawn(client.flush)
    fake.waiting()
    client.set_write_deadline(past())
    with pytest.raises(TimeoutError):
        flushing.result(60)
    client.set_write_deadline(None)
    assert client.write(b"!") == 1  # nothing is lost or poisoned by it
    assert server.read(100) == b"unread!"


def test_close_ends_a_flush(fake: FakeKernel32, pair: Pair, spawn: Spawn) -> None:
    client, _ = pair
    client.write(b"unread")
    flushing = spawn(client.flush)
    fake.waiting()
    client.close()
    with pytest.raises(ClosedError):
        flushing.result(60)


def test_flush_to_the_gone(fake: FakeKernel32, pair: Pair, spawn: Spawn) -> None:
    client, server = pair
    client.write(b"unread")
    flushing = spawn(client.flush)
    fake.waiting()
    server.close()
    with pytest.raises(BrokenPipeError):
        flushing.result(60)


def test_adopt(fake: FakeKernel32, listener: WindowsListener) -> None:
    _, handle = fake.CreateFile(ADDRESS.path, 0x12019B, FILE_FLAG_OVERLAPPED)
    with (
        WindowsConnection.adopt(handle, ADDRESS, api=fake) as client,
        listener.accept(60) as server,
    ):
        client.write(b"x")
        assert server.read(1) == b"x"


def test_adopt_refuses_what_would_hang(
    fake: FakeKernel32, listener: WindowsListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, handle = fake.CreateFile(ADDRESS.path, 0x12019B, 0)
    monkeypatch.setattr(fake, "is_overlapped", lambda _: False)
    with pytest.raises(ValueError, match="FILE_FLAG_OVERLAPPED"):
        WindowsConnection.adopt(handle, ADDRESS, api=fake)
    with pytest.raises(OSError):
        WindowsConnection.adopt(12345, ADDRESS, api=fake)
    fake.CloseHandle(handle)


# -- options and questions


@pytest.mark.parametrize(
    "options",
    [{"backlog": -1}, {"backlog": 1.5}, {"buffer_size": -1}, {"buffer_size": 1 << 31}],
    ids=str,
)
def test_options_that_make_no_sense(fake: FakeKernel32, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give a number"):
        listen(fake, **options)


@pytest.mark.parametrize(("backlog", "made"), [(0, 2), (3, 3), (1000, 63)])
def test_backlog(fake: FakeKernel32, backlog: int, made: int) -> None:
    with listen(fake, backlog=backlog):
        assert len(fake.made("CreateNamedPipe")) == made


@pytest.mark.parametrize(
    "address", [Address("unix", "/x"), Address("pipe", r"\\far\pipe\x", "far")], ids=str
)
def test_addresses_that_cannot_be_served(fake: FakeKernel32, address: Address) -> None:
    with pytest.raises(ValueError, match=r"pipe"):
        windows.listen(address, api=fake)


def test_b37_exists_takes_no_instance(fake: FakeKernel32) -> None:
    assert not windows.exists(ADDRESS, api=fake)
    with listen(fake, backlog=2):
        assert windows.exists(ADDRESS, api=fake)
        busy = [connect(fake), connect(fake)]
        assert windows.exists(ADDRESS, api=fake)  # served, though nobody can connect now
        opened = len(fake.made("CreateFile"))
        assert opened == 2
        fake.fail("WaitNamedPipe", 676)
        with pytest.raises(OSError):
            windows.exists(ADDRESS, api=fake)
        for each in busy:
            each.close()
    assert not windows.exists(ADDRESS, api=fake)

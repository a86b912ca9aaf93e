"""npipe.transport.windows.port_channel, on the fake kernel: reads, writes and their ends."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from typing import Any

import pytest

from npipe.errors import ClosedError
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.port import CompletionPort
from npipe.transport.windows.port_channel import BUFFER_SIZE, FIRST_SIZE
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import QUOTA, Ours, Pair, Spawn, connect


@pytest.fixture
def client(pair: Pair) -> WindowsConnection:
    return pair[0]


@pytest.fixture
def ours(pair: Pair, port: CompletionPort) -> Ours:
    return Ours(pair[1], port)


@pytest.fixture
def message_ours(message_pair: Pair, port: CompletionPort) -> Ours:
    return Ours(message_pair[1], port)


# Reading


def test_a_read_that_was_begun_ends_when_bytes_come(
    fake: FakeKernel32, client: WindowsConnection, ours: Ours
) -> None:
    ours.channel.arm()
    ours.channel.arm()  # one at a time
    assert len(fake.made("ReadFile")) == 1
    assert ours.connection.read_now(10) is None
    assert not ours.channel.readable
    client.write(b"hello")
    assert not ours.channel.readable  # the packet was not taken yet
    assert ours.port.wait(0) == [ours.channel]
    assert ours.connection.read_now(3) == b"hel"
    assert ours.channel.readable
    assert ours.connection.read_now(10) == b"lo"
    assert ours.connection.read_now(10) is None


def test_bytes_that_are_there_already_need_no_packet(client: WindowsConnection, ours: Ours) -> None:
    client.write(b"early")
    ours.channel.arm()
    assert ours.port.wait(0) == []
    assert ours.connection.read_now(10) == b"early"


def test_an_idle_connection_has_a_small_buffer_and_one_handle(
    fake: FakeKernel32, pair: Pair, port: CompletionPort
) -> None:
    client, server = pair
    before = fake.ledger["handles"]
    ours = Ours(server, port)
    assert fake.ledger["handles"] == before - 2  # the events of its blocking reads and writes
    client.write(bytes(FIRST_SIZE - 1))
    assert ours.read() == bytes(FIRST_SIZE - 1)
    assert len(ours.channel._buffer) == FIRST_SIZE
    client.write(bytes(FIRST_SIZE))
    assert ours.read() == bytes(FIRST_SIZE)
    assert len(ours.channel._buffer) == BUFFER_SIZE
    assert fake.ledger["handles"] == before - 2


def test_bytes_that_were_kept_before_come_first(pair: Pair, port: CompletionPort) -> None:
    client, server = pair
    client.write(b"kept")
    assert server.wait_readable(60)
    ours = Ours(server, port)
    assert ours.channel.readable
    assert ours.read(2) + ours.read() == b"kept"
    client.write(b"later")
    assert ours.read() == b"later"


SIZES = [FIRST_SIZE, FIRST_SIZE + 1, BUFFER_SIZE, BUFFER_SIZE + 1]


@pytest.mark.parametrize("size", [*SIZES, 60_000])
def test_what_exceeds_the_buffer_is_read_at_once(
    client: WindowsConnection, ours: Ours, size: int
) -> None:
    ours.channel.arm()
    data = bytes(range(256)) * (size // 256 + 1)
    client.write(data[:size])
    assert ours.read() == data[:size]


def test_the_size_that_is_asked_for_is_kept(client: WindowsConnection, ours: Ours) -> None:
    client.write(bytes(2 * BUFFER_SIZE))
    assert len(ours.read(BUFFER_SIZE + 5)) == BUFFER_SIZE + 5
    assert len(ours.read()) == BUFFER_SIZE - 5


def test_no_read_begins_before_the_rest_of_a_long_one_was_read(
    fake: FakeKernel32, client: WindowsConnection, ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may change what is waited for meanwhile, which begins a read."""
    peek = fake.PeekNamedPipe

    def peek_and_arm(handle: int) -> tuple[int, int]:
        found = peek(handle)
        ours.channel.arm()
        return found

    monkeypatch.setattr(fake, "PeekNamedPipe", peek_and_arm)
    ours.channel.arm()
    data = b"".join(bytes([number]) * BUFFER_SIZE for number in range(3))
    client.write(data)
    assert ours.read() == data


@pytest.mark.parametrize("code", [109, 233])
def test_the_end_is_reported_each_time(
    fake: FakeKernel32, client: WindowsConnection, ours: Ours, code: int
) -> None:
    client.write(b"last")
    assert ours.read() == b"last"
    fake.fail("ReadFile", code)
    assert [ours.read(), ours.read()] == [b"", b""]


def test_the_end_comes_to_a_read_that_was_begun(client: WindowsConnection, ours: Ours) -> None:
    ours.channel.arm()
    client.close()
    assert ours.read() == b""
    assert ours.connection.has_gone()


def test_an_error_is_raised_each_time(fake: FakeKernel32, ours: Ours) -> None:
    fake.fail("ReadFile", 121)
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            ours.read()


def test_the_system_ended_a_read(fake: FakeKernel32, client: WindowsConnection, ours: Ours) -> None:
    """It took no byte, so it begins again."""
    ours.channel.arm()
    fake.CancelIoEx(ours.channel.handle, None)
    assert ours.port.wait(0) == [ours.channel]
    assert not ours.channel.readable
    client.write(b"after it")
    assert ours.read() == b"after it"


def test_a_read_outlives_the_thread_that_began_it(
    fake: FakeKernel32, client: WindowsConnection, ours: Ours
) -> None:
    fake.in_ended_thread(ours.channel.arm)
    assert ours.port.wait(0) == []
    client.write(b"x")
    assert ours.read() == b"x"
    assert len(fake.made("ReadFile")) == 1


def test_the_status_comes_before_the_packet(
    fake: FakeKernel32, client: WindowsConnection, ours: Ours
) -> None:
    ours.channel.arm()
    fake.hold_events = True
    client.write(b"early")
    assert ours.port.wait(0) == []
    ours.channel.arm()
    assert ours.connection.read_now(10) is None
    fake.deliver()
    assert ours.read() == b"early"


# Messages


def test_messages_lose_nothing_and_end(message_pair: Pair, message_ours: Ours) -> None:
    client, _ = message_pair
    message_ours.channel.arm()
    parts = [b"a", *map(bytes, SIZES), bytes(3 * BUFFER_SIZE), b"b"]
    for part in parts:
        client.write(part)
    client.close_write()
    got = b""
    while data := message_ours.read():
        got += data
    assert got == b"".join(parts)
    assert message_ours.read() == b""


def test_the_empty_message_may_follow_a_full_buffer(message_pair: Pair, message_ours: Ours) -> None:
    client, _ = message_pair
    client.write(bytes(BUFFER_SIZE))
    client.close_write()
    client._write_ended = False  # type: ignore[attr-defined]
    assert len(message_ours.read()) == BUFFER_SIZE
    assert message_ours.read() == b""


def test_packets_of_writes_that_ended_at_once_mean_nothing(
    message_pair: Pair, message_ours: Ours
) -> None:
    client, server = message_pair
    for number in range(3):
        assert server.write_now(b"%d" % number) == 1
        assert message_ours.channel.writable
    assert len(message_ours.port.begun) == 3
    assert message_ours.port.wait(0) == [message_ours.channel] * 3
    assert not message_ours.port.begun
    assert [client.read(9) for _ in range(3)] == [b"0", b"1", b"2"]
    assert server.write_now(b"3") == 1
    assert client.read(9) == b"3"


# Writing


def test_what_fits_is_written_at_once(client: WindowsConnection, ours: Ours) -> None:
    assert ours.connection.write_now(b"one ") == 4
    assert ours.connection.write_now(memoryview(b"two")) == 3
    assert ours.port.wait(0) == []
    assert client.read(10) == b"one two"


def test_what_does_not_fit_counts_when_it_was_read(client: WindowsConnection, ours: Ours) -> None:
    data = bytes(QUOTA) + b"after"
    sent = ours.connection.write_now(data)
    assert sent == QUOTA
    rest = data[sent:]
    assert ours.connection.write_now(rest) == 0
    assert not ours.channel.writable
    assert ours.connection.write_now(rest) == 0  # it waits already
    assert client.read(QUOTA) == data[:QUOTA]
    assert not ours.channel.writable
    assert ours.port.wait(0) == [ours.channel]
    assert ours.channel.writable
    assert ours.connection.write_now(rest + b"!") == 6
    assert client.read(10) == b"after!"


def test_much_is_written_in_parts(client: WindowsConnection, ours: Ours, spawn: Spawn) -> None:
    data = bytes(range(256)) * (12 << 10)  # 3 MiB
    reading = spawn(lambda: b"".join(iter(lambda: client.read(100_000), b"")))
    ours.write(data)
    ours.connection.flush()
    ours.connection.close()
    assert reading.result(60) == data


def test_a_write_that_fails(client: WindowsConnection, ours: Ours) -> None:
    client.close()
    with pytest.raises(BrokenPipeError):
        ours.connection.write_now(b"x")


def test_a_later_part_that_fails_is_told_by_the_next_write(fake: FakeKernel32, ours: Ours) -> None:
    fake.fail("WriteFile", 0, 109)
    data = bytes(QUOTA + 1)
    assert ours.connection.write_now(data) == QUOTA
    fake.fail("WriteFile", 109)
    with pytest.raises(BrokenPipeError):
        ours.connection.write_now(data[QUOTA:])


def test_a_write_that_waits_fails_with_its_reader(client: WindowsConnection, ours: Ours) -> None:
    ours.connection.write_now(bytes(QUOTA))
    assert ours.connection.write_now(b"waits") == 0
    client.close()
    assert ours.port.wait(0) == [ours.channel]
    with pytest.raises(BrokenPipeError):
        ours.connection.write_now(b"waits")


def test_a_write_outlives_the_thread_that_began_it(
    fake: FakeKernel32, client: WindowsConnection, ours: Ours
) -> None:
    assert ours.connection.write_now(bytes(QUOTA)) == QUOTA
    fake.in_ended_thread(lambda: ours.connection.write_now(b"waits"))
    assert client.read(QUOTA) == bytes(QUOTA)
    assert client.read(10) == b"waits"


def test_a_thread_in_a_write_leaves_no_turn(ours: Ours, spawn: Spawn) -> None:
    with ours.connection._writer.turn:
        assert spawn(ours.connection.write_now, b"x").result(60) == 0


class NotedLock:
    """A lock that tells whether a thread has asked for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.asked = threading.Event()

    def __enter__(self) -> None:
        self.asked.set()
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


def test_a_write_that_ends_at_once_never_seems_to_wait(
    fake: FakeKernel32, ours: Ours, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No packet would tell a thread that asks meanwhile that the write has ended."""
    lock = NotedLock()
    monkeypatch.setattr(ours.port, "lock", lock)
    write, looks = fake.WriteFile, []

    def look_and_write(*arguments: Any) -> int:
        lock.asked.clear()
        looks.append(spawn(lambda: ours.channel.writable))
        while not (looks[0].done() or lock.asked.is_set()):
            time.sleep(0)
        return write(*arguments)

    monkeypatch.setattr(fake, "WriteFile", look_and_write)
    assert ours.connection.write_now(b"x") == 1
    assert looks[0].result(60)


# Closing


def test_close_cancels_what_was_begun(client: WindowsConnection, ours: Ours) -> None:
    ours.channel.arm()
    ours.connection.write_now(bytes(QUOTA))
    ours.connection.write_now(b"waits")
    assert len(ours.port.begun) == 2
    ours.connection.close()
    assert ours.port.wait(0) == [ours.channel, ours.channel]
    for call in (lambda: ours.connection.read_now(1), lambda: ours.connection.write_now(b"x")):
        with pytest.raises(ClosedError):
            call()
    ours.channel.arm()  # nothing begins any more
    assert not ours.port.begun
    assert not ours.port.channels


def test_memory_is_kept_until_the_packet_was_taken(
    fake: FakeKernel32, pair: Pair, port: CompletionPort
) -> None:
    """A cancelled operation may write to its buffer until its packet is queued."""
    channel = pair[1].attach(port)
    assert channel
    channel.arm()
    address = channel._read.address
    fake.hold_events = True
    pair[1].close()
    del channel
    gc.collect()
    assert port.wait(0) == []
    assert port.begun[address].channel._buffer == bytearray(FIRST_SIZE)
    fake.deliver()
    (ended,) = port.wait(0)
    assert ended._read.address == address


def test_bytes_that_beat_the_cancel_are_dropped(
    fake: FakeKernel32, client: WindowsConnection, ours: Ours
) -> None:
    ours.channel.arm()
    fake.hooks["CancelIoEx"] = lambda: client.write(b"too late") and None
    ours.connection.close()
    assert ours.port.wait(0) == [ours.channel]


def test_close_leaves_no_operation_of_a_writing_thread(
    listener: WindowsListener, port: CompletionPort, fake: FakeKernel32, spawn: Spawn
) -> None:
    """A write either begins before the close, which cancels it, or is refused."""
    for _ in range(50):
        with connect(fake), listener.accept(60) as server:
            ours = Ours(server, port)
            ours.connection.write_now(bytes(QUOTA))
            start = threading.Barrier(2)

            def write(server: WindowsConnection = server, start: threading.Barrier = start) -> None:
                start.wait(60)
                with pytest.raises(ClosedError):
                    for _ in itertools.count():
                        server.write_now(b"x")

            writing = spawn(write)
            start.wait(60)
            server.close()
            writing.result(60)
            while port.begun:
                port.wait(60_000)

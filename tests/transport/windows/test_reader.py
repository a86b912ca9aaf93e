"""npipe.transport.windows.reader, on the fake kernel: interrupted reads, ends, what is held."""

from __future__ import annotations

from typing import Any

import pytest

from npipe.errors import ClosedError
from npipe.transport.windows import reader as reader_module
from npipe.transport.windows.direction import Direction
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import (
    Pair,
    Spawn,
    interrupt,
    past,
    soon,
)


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


def test_b11_lost_network_is_no_end(fake: FakeKernel32, pair: Pair) -> None:
    fake.fail("ReadFile", 64)
    with pytest.raises(ConnectionResetError):
        pair[0].read(1)


def test_the_end_mark_is_not_swallowed_with_the_data_before_it(message_pair: Pair) -> None:
    for writer, reader in (message_pair, message_pair[::-1]):
        writer.write(b"data")
        writer.close_write()
        assert reader.read(100) == b"data"
        assert reader.read(100) == b""


class Huge:
    """Reports a buffer of n times 4 GiB without its memory."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


def test_w19_a_buffer_of_4_gib_is_no_buffer_of_nothing(
    fake: FakeKernel32, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, server = pair
    server.write(b"x")
    sizes: list[int] = []
    monkeypatch.setattr(reader_module, "address_of", lambda view: view)

    def transfer(_: Direction, call: Any, buffer: Any, size: int, due: Any) -> tuple[int, int]:
        sizes.append(size)
        return 0, 1

    monkeypatch.setattr(Direction, "transfer", transfer)
    assert client._reader.readinto(Huge(1 << 32)) == 1  # type: ignore[arg-type]
    assert sizes == [1 << 30]


def test_wait_readable_takes_nothing(pair: Pair) -> None:
    client, server = pair
    assert not client.wait_readable(0)
    assert not client.wait_readable(0.01)
    server.write(b"12")
    assert client.wait_readable(60)
    assert client.wait_readable(0)
    assert client.read(1) == b"1"
    assert client.wait_readable(0)
    assert client.read(10) == b"2"
    server.close()
    assert client.wait_readable(60)  # the end counts
    assert client.read(1) == b""


def test_wait_readable_goes_by_the_read_deadline(pair: Pair) -> None:
    client, _ = pair
    client.set_read_deadline(past())
    with pytest.raises(TimeoutError):
        client.wait_readable(60)
    client.set_read_deadline(soon())
    with pytest.raises(TimeoutError):
        client.wait_readable()
    client.close()
    with pytest.raises(ClosedError):
        client.wait_readable(0)

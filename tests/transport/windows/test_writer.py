"""npipe.transport.windows.writer, on the fake kernel: cut writes, parts, half-close, flush."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Any

import pytest

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.windows import connect as windows
from npipe.transport.windows.direction import Direction
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import (
    ADDRESS,
    Pair,
    Spawn,
    interrupt,
    past,
    soon,
)


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

    def late(direction: Direction, call: Any, buffer: Any, size: int, *due: Any) -> Any:
        result = transfer(direction, call, buffer, size, *due)
        if size == 1 << 20:
            direction.set_deadline(past())
        return result

    monkeypatch.setattr(Direction, "transfer", late)
    with pytest.raises(TimeoutError) as caught:
        client.write(bytes(3 << 20))
    assert caught.value.characters_written == 1 << 20  # type: ignore[attr-defined]
    assert len(reading.result(60)) == 1 << 20
    client.set_write_deadline(None)
    assert client.write(b"goes on") == 7


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


def test_interrupted_write_poisons(fake: FakeKernel32, pair: Pair) -> None:
    client, _ = pair
    fake.hooks["WaitForMultipleObjects"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        client.write(bytes(100_000))
    with pytest.raises(BrokenPipeError, match="cut"):
        client.write(b"x")


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


FAR = Address("pipe", r"\\far\pipe\test", "far")


@pytest.fixture
def far_pair(fake: FakeKernel32) -> Iterator[Pair]:
    """A client on another computer, and the server's end."""
    fake.remote = True
    with (
        windows.listen(ADDRESS, reject_remote=False, api=fake) as listener,
        windows.connect(FAR, api=fake) as client,
        listener.accept(60) as server,
    ):
        yield client, server


@pytest.mark.parametrize("size", [65_535, 65_536, 200_000])
def test_w02_a_write_to_another_computer_goes_in_parts_of_65535_bytes(
    fake: FakeKernel32, far_pair: Pair, spawn: Spawn, size: int
) -> None:
    client, server = far_pair
    reading = spawn(lambda: b"".join(iter(lambda: server.read(65536), b"")))
    assert client.write(bytes(size)) == size
    client.close()
    assert len(reading.result(60)) == size
    assert max(written for _, written in fake.made("WriteFile")) == 65_535


def test_w02_a_message_that_another_computer_cannot_take_is_refused_before_it_is_sent(
    fake: FakeKernel32,
) -> None:
    fake.remote = True
    with (
        windows.listen(ADDRESS, reject_remote=False, message_mode=True, api=fake) as listener,
        windows.connect(FAR, api=fake) as client,
        listener.accept(60) as server,
    ):
        with pytest.raises(OSError, match="at most 65535") as caught:
            client.write(bytes(65_536))
        assert caught.value.errno == errno.EMSGSIZE
        assert fake.made("WriteFile") == []
        client.write(bytes(65_535))
        assert len(server.read(65_536)) == 65_535


def test_w11_flush_asks_the_quota_before_it_waits(fake: FakeKernel32, pair: Pair) -> None:
    client, server = pair
    client.write(b"x")
    assert server.read(1) == b"x"
    client.flush()
    assert fake.made("FlushFileBuffers") == []

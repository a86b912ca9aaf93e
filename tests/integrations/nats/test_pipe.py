"""A connection over numbered messages: order, window, ends. The broker is a list here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("nats", reason="nats-py is not installed")

from npipe.integrations.nats.pipe import ACK_EVERY, WINDOW, LostPipe, Pipe


class Posted:
    """What a pipe wanted to have published."""

    def __init__(self, max_payload: int = 1 << 20) -> None:
        self.max_payload = max_payload
        self.messages: list[tuple[str, bytes]] = []
        self.forgotten = 0

    def post(self, subject: str, reply: str, data: bytes) -> None:
        assert subject == "peer"
        self.messages.append((reply.removeprefix("own."), data))

    def forget(self, pipe: Pipe) -> None:
        self.forgotten += 1

    def take(self) -> list[tuple[str, bytes]]:
        found, self.messages = self.messages, []
        return found


class Protocol(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.paused = False
        self.lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.data += data

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


Test = Callable[[Pipe, Posted, Protocol], Coroutine[Any, Any, None]]


def with_pipe(test: Test, max_payload: int = 1 << 20) -> None:
    async def main() -> None:
        posted, protocol = Posted(max_payload), Protocol()
        await test(Pipe(posted, "own", "peer", protocol, lambda: None), posted, protocol)

    asyncio.run(main())


def test_messages_are_numbered_and_no_larger_than_the_broker_allows() -> None:
    async def test(pipe: Pipe, posted: Posted, _: Protocol) -> None:
        pipe.write(b"x" * 25)
        pipe.write(b"y")
        assert posted.take() == [("1", b"x" * 10), ("2", b"x" * 10), ("3", b"xxxxx"), ("4", b"y")]

    with_pipe(test, max_payload=10)


def test_what_arrives_is_read_in_order_and_acknowledged() -> None:
    async def test(pipe: Pipe, posted: Posted, protocol: Protocol) -> None:
        pipe.received("1", b"a" * (ACK_EVERY - 1))
        assert posted.take() == []
        pipe.received("2", b"b")
        assert posted.take() == [(f"a{ACK_EVERY}", b"")]
        pipe.pause_reading()
        pipe.received("3", b"c")
        assert protocol.data[-1:] == b"b"
        pipe.resume_reading()
        assert protocol.data[-1:] == b"c"
        pipe.received("p", b"")
        assert posted.take() == [(f"a{ACK_EVERY + 1}", b"")]

    with_pipe(test)


@pytest.mark.parametrize("token", ["3", "1", "0", "nonsense", "2x", "\N{FULLWIDTH DIGIT TWO}"])
def test_a_gap_or_nonsense_ends_it(token: str) -> None:
    async def test(pipe: Pipe, posted: Posted, protocol: Protocol) -> None:
        pipe.received("1", b"a")
        pipe.received(token, b"b")
        await asyncio.sleep(0)
        assert protocol.data == b"a"
        (error,) = protocol.lost
        assert isinstance(error, LostPipe) and "lost or duplicated" in str(error)
        assert posted.take() == [("x", b"")]
        assert posted.forgotten == 1

    with_pipe(test)


def test_no_more_is_on_the_way_than_the_window() -> None:
    async def test(pipe: Pipe, posted: Posted, protocol: Protocol) -> None:
        pipe.set_write_buffer_limits(high=1000)
        pipe.write(b"x" * (2 * WINDOW))
        assert sum(len(data) for _, data in posted.take()) == WINDOW
        assert protocol.paused
        assert pipe.get_write_buffer_size() == WINDOW
        pipe.received(f"a{WINDOW // 2}", b"")
        assert sum(len(data) for _, data in posted.take()) == WINDOW // 2
        pipe.received(f"a{9 * WINDOW}", b"")  # more than was ever sent: a lie
        assert sum(len(data) for _, data in posted.take()) == WINDOW // 2
        assert not protocol.paused

    with_pipe(test)


def test_the_broker_says_which_message_reached_nobody() -> None:
    async def test(pipe: Pipe, _: Posted, protocol: Protocol) -> None:
        pipe.write(b"x" * 100)
        pipe.write(b"y" * 10)
        pipe.write(b"z" * 10)
        pipe.undelivered("2")
        await asyncio.sleep(0)
        (error,) = protocol.lost
        assert isinstance(error, LostPipe) and error.undelivered_from == 100

    with_pipe(test)


def test_what_was_never_published_is_undelivered_whatever_happened() -> None:
    async def test(pipe: Pipe, _: Posted, protocol: Protocol) -> None:
        pipe.write(b"x" * (2 * WINDOW))
        pipe.lost("the broker was lost")
        await asyncio.sleep(0)
        (error,) = protocol.lost
        assert isinstance(error, LostPipe) and error.undelivered_from == WINDOW

    with_pipe(test)


def test_closing_waits_for_what_is_queued_and_aborting_does_not() -> None:
    async def test(pipe: Pipe, posted: Posted, protocol: Protocol) -> None:
        pipe.write(b"x" * (WINDOW + 1))
        pipe.close()
        pipe.write(b"too late")
        assert pipe.is_closing()
        assert [token for token, _ in posted.take()] == ["1", "2", "3", "4"]
        pipe.received(f"a{WINDOW}", b"")
        assert posted.take() == [("5", b"x"), ("x", b"")]
        await asyncio.sleep(0)
        assert protocol.lost == [None]
        pipe.abort()
        assert posted.take() == []

    async def aborted(pipe: Pipe, posted: Posted, protocol: Protocol) -> None:
        pipe.write(b"x" * (WINDOW + 1))
        pipe.abort()
        assert posted.take()[-1] == ("x", b"")
        await asyncio.sleep(0)
        assert protocol.lost == [None]

    with_pipe(test)
    with_pipe(aborted)

"""Tests of npipe.rpc.threads.writer: writing, waiting for a write, and interruptions."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from npipe import rpc
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session
from npipe.rpc.threads.writer import Writer
from npipe.transport.base import Connection


class Service:
    @rpc.subscription
    def plain(self, count: int) -> Iterator[int]:
        yield from range(count)

    @rpc.subscription
    async def tasks(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    def back(self, times: int, context: rpc.Context) -> list[str]:
        return [context.remote.call("test_big") for _ in range(times)]

    def big(self) -> str:
        return "x" * 500_000


@pytest.fixture
def api() -> rpc.API:
    api = rpc.API()
    api.register("test", Service())
    return api


# The thread that writes for those who must not wait, where it is not to be had


@pytest.fixture(params=["never", "once"])
def no_thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As on a system without a thread to spare: the names of those that were not started."""
    start, failed = threading.Thread.start, list[str]()

    def may_start(thread: threading.Thread) -> None:
        if thread.name.endswith("-write") and (request.param == "never" or not failed):
            failed.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", may_start)
    return failed


@pytest.mark.parametrize("name", ["plain", "tasks"])
def test_a_subscription_is_sent_by_its_own_generator_then(
    api: rpc.API, no_thread: list[str], name: str
) -> None:
    # In memory: there the server has a driver with threads.
    with rpc.Server(api) as server, rpc.connect(server, timeout=60) as client:
        for count in (1, 1000):
            items = client.subscribe("test", name, count)
            assert list(items) == list(range(count))
        assert no_thread


def test_replies_are_written_by_who_reads_then(
    api: rpc.API, address: str, no_thread: list[str]
) -> None:
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address, timeout=60, api=api) as client:
            assert [len(text) for text in client.call("test_back", 5)] == [500_000] * 5
            assert no_thread


# Moments that no real connection brings about on demand


class Sink:
    """A connection that takes all, and does something else first."""

    has_deadlines = counts_partial_writes = True

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.before = before
        self.data = b""

    def set_write_deadline(self, when: float | None) -> None:
        pass

    def write(self, data: bytes) -> int:
        self.before()
        self.data += data
        return len(data)


def writer_to(sink: Sink, **options: object) -> tuple[Session, Writer]:
    session = Session(Dispatcher(rpc.API()))
    failed = options.pop("on_failure", lambda reason: None)
    connection = cast("Connection", sink)
    return session, Writer(connection, session, name="test-write", on_failure=failed)  # type: ignore[arg-type]


class HookedLock:
    """A lock that calls ``then`` just before one of its threads lets go of it."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._lock, self._depth, self._then = threading.RLock(), 0, then

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        got = self._lock.acquire(blocking, timeout)
        self._depth += got
        return got

    def release(self) -> None:
        if self._depth == 1:
            self._then()
        self._depth -= 1
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exc: object) -> None:
        self.release()


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("seconds", [None, 60])
def test_what_is_left_to_who_has_the_lock_is_written_by_it(seconds: float | None) -> None:
    """It was forgotten when it came after the last look and before the lock was let go of."""
    left = [b"2", b"3", b"4", b"5"]

    def leave() -> None:
        if left:
            session.send(left.pop(0))
            thread = in_thread(lambda: writer.flush(wait=False))
            thread.join(60)
            assert not thread.is_alive()

    sink = Sink()
    session, writer = writer_to(sink)
    writer.lock = cast("threading.RLock", HookedLock(leave))
    session.send(b"1")
    assert writer.catch_up(None if seconds is None else time.monotonic() + seconds)
    assert sink.data.split() == [b"1", b"2", b"3", b"4", b"5"][: 5 - len(left)]
    assert not session.has_output


class Flood:
    """A subscription that always has more."""

    over = False

    def take(self) -> bytes:
        return b"" if self.over else b"x" * 1000

    def has_more(self) -> bool:
        return not self.over


def test_pushes_without_an_end_do_not_keep_from_waiting_calls_that_there_is_room() -> None:
    room, flood = threading.Event(), Flood()
    session, writer = writer_to(Sink())
    writer.on_room = room.set
    session.send_queue.put_pushes(flood)
    try:
        assert writer.flush_in_writer()
        assert room.wait(60)
    finally:
        flood.over = True
        writer.close()


def test_who_writes_for_others_sleeps_while_another_write_waits_for_its_reader() -> None:
    """It looked 5000 times a second whether that had ended."""
    blocked, go_on, looks = threading.Event(), threading.Event(), list[bool]()

    def block() -> None:
        if threading.current_thread().name != "test-write":
            blocked.set()
            assert go_on.wait(60)

    class Waiting(list[None]):
        def __bool__(self) -> bool:
            if threading.current_thread().name == "test-write":
                if not looks:
                    session.send(b"2")
                    in_thread(writer.flush)
                    assert blocked.wait(60)
                looks.append(True)
            return len(self) > 0

    session, writer = writer_to(Sink(block))
    writer._waiting = Waiting()
    session.send(b"1")
    try:
        assert writer.flush_in_writer()
        assert blocked.wait(60)
        assert not go_on.wait(0.3)  # for the looks that should not be
        assert len(looks) < 10
    finally:
        go_on.set()
        writer.close()


def test_each_write_has_its_time_and_no_deadline_is_set_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, ends, left = [1000.0], list[float](), list[float]()
    monkeypatch.setattr("npipe.rpc.threads.writer.time", SimpleNamespace(monotonic=lambda: now[0]))

    class Clocked(Sink):
        def set_write_deadline(self, when: float | None) -> None:
            assert when is not None
            ends.append(when)

    session, writer = writer_to(Clocked(lambda: left.append(ends[-1] - now[0])))
    for _ in range(100):
        session.send(b"x")
        writer.flush()
        now[0] += 0.5
    assert min(left) >= 30  # ``write_timeout``
    assert max(left) < 34
    assert len(ends) < 20


def test_an_interrupted_write_ends_the_connection_since_nothing_may_follow_half_a_message() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    reasons = list[str]()
    session, writer = writer_to(Sink(interrupt), on_failure=reasons.append)
    session.send(b"x" * 1_000_000)
    with pytest.raises(KeyboardInterrupt):
        writer.flush()
    assert reasons == ["interrupted while writing"]
    assert not writer.writing
    assert not session.flow.blocked


# Callers that are interrupted


def test_what_an_interrupted_caller_queued_is_sent_by_who_waits_for_room(
    api: rpc.API, address: str
) -> None:
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address, timeout=60) as client:
            client._driver.session.outgoing_calls.notify("any", b'["%b"]' % (b"x" * 1_000_000))
            assert len(client.call("test_big")) == 500_000


def test_a_caller_interrupted_while_it_sends_gives_its_call_up(
    api: rpc.API, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address, timeout=60) as client:
            link = client._driver

            def interrupt(until: float | None = None) -> None:
                raise KeyboardInterrupt

            with monkeypatch.context() as patched:
                patched.setattr(link, "flush", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    client.call("test_big")
            assert len(link.session.outgoing_calls) == 0
            assert len(client.call("test_big")) == 500_000

"""Calls outside the reading thread: when they begin, and what they wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.handlers.concurrency import ConcurrencyLimits
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session
from npipe.rpc.threads import executor as executors
from npipe.rpc.threads.executor import CallExecutor
from rpc.service import Service, make_api

CALL = b'{"jsonrpc":"2.0","id":%d,"method":"%b"}'


class Writer:
    """A writer that takes every reply out of the session's send queue, or none."""

    can_cut = True
    on_room: Callable[[], object]

    def __init__(self, session: Session) -> None:
        self._session = session
        self.written = b""
        self.paused = False

    def flush_replies(self) -> None:
        if not self.paused:
            self.written += self._session.take()

    def flush_in_writer(self) -> bool:
        return True

    def flush(self, *, wait: bool = True, until: float | None = None) -> None:
        self.flush_replies()

    def catch_up(self, until: float | None) -> bool:
        self.flush_replies()
        return not self.paused


class Made:
    """An executor on a session, with its writer."""

    def __init__(self, api: rpc.API, **options: Any) -> None:
        self.session = Session(Dispatcher(api), connection_id=1)
        self.writer = Writer(self.session)
        self.paused = threading.Event()
        writer: Any = self.writer
        self.executor = CallExecutor(
            self.session,
            writer,
            ConcurrencyLimits(),
            name="test-call",
            run_async=None,
            on_pause=self.paused.set,
            **options,
        )

    def start(self, *methods: bytes) -> list[Any]:
        """Start a call of each method; return the calls."""
        self.session.receive([CALL % (id, name) for id, name in enumerate(methods, 1)])
        calls = []
        while (call := self.session.next_call()) is not None:
            calls.append(call)
            self.executor.start(call)
        return calls


def test_a_call_runs_in_a_thread_of_its_own_and_its_reply_is_written() -> None:
    names: list[str] = []
    api = rpc.API()
    api.register("x", {"f": lambda: names.append(threading.current_thread().name)})
    made = Made(api)
    (call,) = made.start(b"x_f")
    assert made.paused.wait(60)
    assert names == ["test-call"]
    assert made.writer.written == b'{"jsonrpc":"2.0","id":1,"result":null}\n'
    assert made.executor.room.wait(0)
    assert call.session.idle


def test_a_method_that_was_quick_is_no_longer_marked_as_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executors, "QUICK", 60.0)
    service = Service()
    made = Made(make_api(service))
    method = made.session.dispatcher.api.methods["test_noArgsRets"]
    method.slow = True
    made.start(b"test_noArgsRets")
    assert made.paused.wait(60)
    assert not method.slow


def test_without_a_thread_the_call_runs_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(executors, "start_thread", refuse)
    made = Made(make_api())
    made.start(b"test_noArgsRets")
    assert b'"id":1,"result"' in made.writer.written


def test_calls_that_are_held_begin_after_the_write() -> None:
    made = Made(make_api())
    made.writer.paused = True
    assert made.executor.catch_up() is False  # ``resume`` will begin them
    made.session.receive([CALL % (1, b"test_noArgsRets")])
    made.writer.paused = False
    made.writer.on_room()
    assert made.paused.wait(60)
    assert b'"id":1,"result"' in made.writer.written
    made.paused.clear()
    made.writer.on_room()  # nothing is held any more
    assert made.paused.is_set()


def test_a_call_that_ends_begins_those_that_waited_for_the_limit() -> None:
    service = Service()
    made = Made(make_api(service))
    service.release.set()
    made.start(*[b"test_twoAtATime"] * 5)
    while made.writer.written.count(b"\n") < 5:
        assert made.executor.room.wait(60)
    assert service.most_running <= 2

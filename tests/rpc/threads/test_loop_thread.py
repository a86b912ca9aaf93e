"""The event loop of a server with threads: tasks that are in flight when it stops."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.served_calls import ServedCall
from npipe.rpc.session.session import Session
from npipe.rpc.threads import loop_thread
from npipe.rpc.threads.loop_thread import LoopThread


class Service:
    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    async def block(self) -> int:
        """Hold up the loop."""
        self.entered.set()
        assert self.release.wait(60)
        return 1

    async def quick(self) -> int:
        return 2


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def session(service: Service) -> Session:
    api = rpc.API()
    api.register("test", service)
    return Session(Dispatcher(api))


def run(
    loop: LoopThread,
    session: Session,
    id: int,
    method: str,
    ended: threading.Event | None = None,
) -> None:
    message = {"jsonrpc": "2.0", "id": id, "method": method}
    session.receive([json.dumps(message).encode()])
    call = session.next_call()
    assert call is not None
    link: Any = SimpleNamespace(
        after_async_call=(ended or threading.Event()).set, writes_may_wait=False
    )
    loop.run_call(link, call)


def replies(session: Session) -> dict[int, Any]:
    answers = map(json.loads, session.take().splitlines())
    return {answer["id"]: answer.get("result", answer.get("error")) for answer in answers}


CANCELLED = {"code": -32800, "message": "the call was cancelled"}


def test_a_call_started_just_before_it_stops_is_answered_and_leaves_nothing_behind(
    service: Service, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = LoopThread()
    run(loop, session, 1, "test_block")
    assert service.entered.wait(60)
    inner = loop._loop
    assert isinstance(inner, asyncio.AbstractEventLoop)
    call_soon, stopping = inner.call_soon_threadsafe, threading.Event()

    def noted(callback: Any, *args: Any, **options: Any) -> Any:
        handle = call_soon(callback, *args, **options)
        if callback == inner.stop:
            stopping.set()
        return handle

    monkeypatch.setattr(inner, "call_soon_threadsafe", noted)
    run(loop, session, 2, "test_quick")  # in the same round of the loop as its end
    stop = threading.Thread(target=loop.stop)
    stop.start()
    assert stopping.wait(60)
    service.release.set()
    stop.join(60)
    assert not stop.is_alive()
    gc.collect()  # a coroutine that was never awaited warns, which is an error here
    assert replies(session)[2] in (2, CANCELLED)


def test_nothing_is_started_once_it_is_stopped(session: Session) -> None:
    loop = LoopThread()
    loop.stop()
    run(loop, session, 1, "test_quick")
    assert replies(session) == {1: CANCELLED}
    assert "npipe-loop" not in {thread.name for thread in threading.enumerate()}


def test_a_function_that_blocks_does_not_hold_up_the_stop(
    service: Service,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(loop_thread, "STOP_SECONDS", 0.01)
    loop = LoopThread()
    run(loop, session, 1, "test_block")
    assert service.entered.wait(60)
    thread = loop._thread
    assert thread is not None
    loop.stop()
    assert thread.is_alive()
    assert "an async function still runs" in caplog.text
    service.release.set()
    thread.join(60)
    assert not thread.is_alive()


def test_an_interrupt_does_not_end_the_loop(
    service: Service, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(session: ServedCall) -> None:
        raise KeyboardInterrupt

    loop = LoopThread()
    with monkeypatch.context() as patch:
        patch.setattr(ServedCall, "run_async", interrupted)
        ended = threading.Event()
        run(loop, session, 1, "test_quick", ended)
        assert ended.wait(60)
    ended = threading.Event()
    run(loop, session, 2, "test_quick", ended)
    assert ended.wait(60)
    loop.stop()
    assert replies(session) == {1: CANCELLED, 2: 2}


def test_without_a_thread_for_the_loop_the_call_is_answered(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    loop = LoopThread()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        run(loop, session, 1, "test_quick")
    assert replies(session) == {1: CANCELLED}
    ended = threading.Event()
    run(loop, session, 2, "test_quick", ended)  # the next call tries again
    assert ended.wait(60)
    loop.stop()
    assert replies(session) == {2: 2}

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
from npipe.rpc.session.session import Session
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


def run(loop: LoopThread, session: Session, id: int, method: str) -> None:
    message = {"jsonrpc": "2.0", "id": id, "method": method}
    session.receive([json.dumps(message).encode()])
    call = session.next_call()
    assert call is not None
    link: Any = SimpleNamespace(after_async_call=lambda: None)
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

"""Tests of npipe.rpc.threads.loop.executor."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.handlers.concurrency import ConcurrencyLimits
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.served_calls import ServedCall
from npipe.rpc.session.session import Session
from npipe.rpc.threads.loop import executor as loop_executor
from npipe.rpc.threads.loop.executor import LoopExecutor
from npipe.rpc.threads.loop.pool import ThreadPool

SECONDS = 60


class Service:
    def __init__(self) -> None:
        self.run: Callable[[], object] = lambda: None

    def plain(self) -> None:
        self.run()

    @rpc.method(inline=False)
    def apart(self) -> None:
        self.run()

    @rpc.method(concurrency=1)
    def alone(self) -> None:
        self.run()

    async def task(self) -> None:
        pass


class Owner:
    writes_may_wait = False

    def __init__(self, service: Service) -> None:
        api = rpc.API()
        api.register("t", service)
        self.session = Session(Dispatcher(api))
        self.after = threading.Semaphore(0)

    def call(self, name: str) -> ServedCall:
        self.session.feed(b'{"jsonrpc":"2.0","id":1,"method":"t_%b"}\n' % name.encode())
        call = self.session.next_call()
        assert call is not None
        return call

    def after_call(self) -> None:
        self.after.release()

    def after_async_call(self) -> None:
        raise AssertionError("not for the pool")


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def owner(service: Service) -> Owner:
    return Owner(service)


@pytest.fixture
def tasks() -> list[ServedCall]:
    return []


@pytest.fixture
def executor(tasks: list[ServedCall]) -> LoopExecutor:
    return LoopExecutor(ThreadPool(), ConcurrencyLimits(), lambda owner, call: tasks.append(call))


def test_which_calls_the_leader_does_not_run(owner: Owner, executor: LoopExecutor) -> None:
    elsewhere = {name: executor.belongs_elsewhere(owner.call(name)) for name in NAMES}
    assert elsewhere == {"plain": False, "apart": True, "alone": True, "task": True}
    call = owner.call("plain")
    call.method.slow = True
    assert executor.belongs_elsewhere(call)


NAMES = ["plain", "apart", "alone", "task"]


def test_a_quick_call_of_a_slow_method_clears_its_name(
    owner: Owner, executor: LoopExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_executor, "QUICK", SECONDS)
    call = owner.call("plain")
    call.method.slow = True
    executor.start(owner, call)
    assert owner.after.acquire(timeout=SECONDS)
    assert not call.method.slow


def test_a_cancelled_call_of_a_slow_method_tells_nothing_of_it(
    owner: Owner, executor: LoopExecutor
) -> None:
    call = owner.call("plain")
    call.method.slow = True
    call.cancel()
    executor.start(owner, call)
    assert owner.after.acquire(timeout=SECONDS)
    assert call.method.slow


def test_a_slow_call_of_a_slow_method_does_not(
    owner: Owner, executor: LoopExecutor, service: Service
) -> None:
    service.run = lambda: threading.Event().wait(0.01)
    call = owner.call("plain")
    call.method.slow = True
    executor.start(owner, call)
    assert owner.after.acquire(timeout=SECONDS)
    assert call.method.slow


def test_async_calls_go_to_the_event_loop(
    owner: Owner, executor: LoopExecutor, tasks: list[ServedCall]
) -> None:
    call = owner.call("task")
    executor.start(owner, call)
    assert tasks == [call]


def test_calls_that_have_to_wait_for_each_other_need_no_thread_for_that(
    owner: Owner, executor: LoopExecutor, service: Service
) -> None:
    release, begun = threading.Event(), threading.Semaphore(0)

    def run() -> None:
        begun.release()
        assert release.wait(SECONDS)

    service.run = run
    for _ in range(20):
        executor.start(owner, owner.call("alone"))
    assert begun.acquire(timeout=SECONDS)
    assert executor._pool._threads == 1
    release.set()
    for _ in range(20):
        assert owner.after.acquire(timeout=SECONDS)


@pytest.mark.parametrize("name", ["apart", "alone"])
def test_without_a_thread_to_be_had_a_call_runs_here(
    owner: Owner, executor: LoopExecutor, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    executor.start(owner, owner.call(name))
    assert owner.after.acquire(blocking=False)


def test_what_a_function_raises_is_logged_and_no_more(
    owner: Owner, executor: LoopExecutor, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    def leave() -> Any:
        raise KeyboardInterrupt

    service.run = leave
    with caplog.at_level(logging.ERROR, "npipe.rpc"):
        executor.run(owner, owner.call("plain"))
    assert "a function" in caplog.text
    assert owner.session.has_output

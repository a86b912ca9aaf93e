"""Tests of npipe.rpc.handlers.concurrency."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from npipe.rpc.handlers.concurrency import ConcurrencyLimits
from npipe.rpc.service.api import API
from npipe.rpc.service.decorators import method
from npipe.rpc.service.method import Method


@pytest.fixture
def two() -> Method:
    api = API()
    api.register("x", {"two": method(concurrency=2)(lambda: 1)})
    return api.methods["x_two"]


def test_no_more_than_may_run_are_begun_and_the_next_when_one_has_ended(two: Method) -> None:
    limits, begun = ConcurrencyLimits(), []
    for number in range(5):
        limits.enter(two, lambda number=number: begun.append(number))
    assert begun == [0, 1]
    limits.leave(two)
    assert begun == [0, 1, 2]
    for _ in range(4):
        limits.leave(two)
    assert begun == [0, 1, 2, 3, 4]
    limits.enter(two, lambda: begun.append(5))
    assert begun[-1] == 5


def test_a_call_that_ends_at_once_may_begin_the_next_from_within(two: Method) -> None:
    limits, begun = ConcurrencyLimits(), []

    def run() -> None:
        begun.append(None)
        limits.leave(two)

    for _ in range(10):
        limits.enter(two, run)
    assert len(begun) == 10


def test_threads_lose_no_call_and_never_exceed_the_limit(two: Method) -> None:
    limits, lock, over = ConcurrencyLimits(), threading.Lock(), threading.Semaphore(0)
    running, most = 0, 0

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1
        limits.leave(two)
        over.release()

    with ThreadPoolExecutor(8) as pool:
        for _ in range(500):
            pool.submit(limits.enter, two, lambda: pool.submit(work))
        for _ in range(500):
            assert over.acquire(timeout=60)
    assert most <= 2

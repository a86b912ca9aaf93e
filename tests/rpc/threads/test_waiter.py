"""The reply to a call, a wake-up and a latch, for the threads that wait for them."""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType
from typing import Any

import pytest

from npipe.rpc.threads.waiter import Latch, ReplyWaiter, Wakeup, notify_all


def test_a_reply_that_is_there_is_not_waited_for() -> None:
    reply: ReplyWaiter[str] = ReplyWaiter()
    reply("done")
    assert reply.wait(time.monotonic() - 1)
    assert reply.wait(None)  # again
    assert reply.outcome == "done"


def test_a_reply_wakes_the_thread_that_waits() -> None:
    reply: ReplyWaiter[str] = ReplyWaiter()
    waiting = threading.Thread(target=reply.wait, args=(None,))
    waiting.start()
    reply("done")
    waiting.join(60)
    assert not waiting.is_alive()


def test_a_wait_ends_at_its_deadline_and_may_be_repeated() -> None:
    reply: ReplyWaiter[str] = ReplyWaiter()
    assert not reply.wait(time.monotonic() - 1)
    assert not reply.wait(time.monotonic() + 0.001)
    reply("late")
    assert reply.wait(time.monotonic() - 1)


def test_a_wakeup_ends_one_wait_now_or_later() -> None:
    wakeup = Wakeup()
    assert not wakeup.wait(0)
    wakeup.set()
    wakeup.set()
    assert wakeup.wait(60)
    assert not wakeup.wait(0)
    waiting = threading.Thread(target=wakeup.wait)
    waiting.start()
    wakeup.set()
    waiting.join(60)
    assert not waiting.is_alive()


def test_a_latch_ends_all_waits() -> None:
    latch = Latch()
    assert not latch.wait(0)
    assert not latch.is_set()
    waiting = [threading.Thread(target=latch.wait) for _ in range(3)]
    for thread in waiting:
        thread.start()
    latch.set()
    for thread in waiting:
        thread.join(60)
        assert not thread.is_alive()
    assert latch.is_set()
    assert latch.wait(0)


@pytest.mark.parametrize("kind", [Wakeup, Latch])
def test_it_may_be_set_in_the_middle_of_set(kind: type[Wakeup | Latch]) -> None:
    """As a signal handler does. With ``threading.Event``, the thread waits for its own lock."""
    event, depth = kind(), 0
    code = kind.set.__code__

    def trace(frame: FrameType, what: str, argument: object) -> Any:
        nonlocal depth
        if frame.f_code is code and depth < 3:
            depth += 1
            event.set()
        return trace

    def run() -> None:
        sys.settrace(trace)
        event.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert depth == 3
    assert event.wait(0)


@pytest.mark.parametrize("line", range(1, 20))
def test_a_handler_may_notify_in_the_middle_of_notify(line: int) -> None:
    """``Condition.notify`` alone raises IndexError at one of its lines."""
    condition, waiting, left = threading.Condition(), threading.Semaphore(0), line

    def wait() -> None:
        with condition:
            waiting.release()
            condition.wait(60)

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code is threading.Condition.notify.__code__ and event == "line":
            left -= 1
            if left == 0:
                notify_all(condition)
        return trace

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert waiting.acquire(timeout=60)
    before = sys.gettrace()
    with condition:
        sys.settrace(trace)
        try:
            notify_all(condition)
        finally:
            sys.settrace(before)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()

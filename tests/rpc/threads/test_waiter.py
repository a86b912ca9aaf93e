"""The reply to a call, for the thread that waits for it."""

from __future__ import annotations

import threading
import time

from npipe.rpc.threads.waiter import ReplyWaiter


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

"""Threads with a deep stack, and the outcome of a job in one."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future

from npipe.ethereum.node.deep_thread import settle, start_deep_thread


def test_the_stack_is_deep_and_the_setting_of_the_process_is_what_it_was() -> None:
    before = threading.stack_size()
    done: Future[int] = Future()

    def nested(left: int) -> int:
        # A C function in between, as py-evm's calls have: each needs the thread's real stack.
        return 0 if left == 0 else 1 + max(map(nested, (left - 1,)))

    def work() -> None:
        settle(done, lambda: nested(1_200))

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        thread = start_deep_thread(work, "deep")
        assert threading.stack_size() == before
        assert done.result(30) == 1_200
    finally:
        sys.setrecursionlimit(limit)
    thread.join(30)
    assert (thread.name, thread.daemon) == ("deep", True)


def test_an_exception_is_the_outcome_whatever_it_is() -> None:
    for error in (ValueError("a"), SystemExit(1)):
        outcome: Future[None] = Future()

        def fail(error: BaseException = error) -> None:
            raise error

        settle(outcome, fail)
        assert outcome.exception() is error

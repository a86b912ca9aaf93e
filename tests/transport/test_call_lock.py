"""npipe.transport.call_lock: one call at a time, and none in the middle of another."""

from __future__ import annotations

import threading

import pytest

from npipe.transport.call_lock import CallLock


def test_a_call_waits_for_another_threads_call() -> None:
    lock, order = CallLock(), []
    begun = threading.Event()

    def second() -> None:
        begun.set()
        with lock.call():
            order.append("second")

    thread = threading.Thread(target=second)
    with lock.call():
        thread.start()
        assert begun.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]


def test_t03_a_call_in_the_middle_of_a_call_is_an_error_and_harms_nothing() -> None:
    lock = CallLock()
    with lock.call():
        for _ in range(2):
            with pytest.raises(RuntimeError, match="in the middle of a call"), lock.call():
                pass
    with lock.call():
        pass


def test_try_call_gives_up_after_its_time_and_in_the_middle_of_a_call_at_once() -> None:
    lock = CallLock()
    with lock.call(), lock.try_call(60) as unused:
        assert not unused
    with lock.try_call(0) as unused:
        assert unused
        with pytest.raises(RuntimeError), lock.call():
            pass
        waiting = threading.Thread(target=lambda: found.extend(try_it()))
        found: list[bool] = []

        def try_it() -> list[bool]:
            with lock.try_call(0.01) as free:
                return [free]

        waiting.start()
        waiting.join(60)
        assert found == [False]
    with lock.call():
        pass

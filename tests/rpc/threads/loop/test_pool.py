"""Tests of npipe.rpc.threads.loop.pool."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from npipe.rpc.threads.loop import pool as module
from npipe.rpc.threads.loop.pool import ThreadPool
from until import wait_until

SECONDS = 60


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def blocked(pool: ThreadPool, count: int, release: threading.Event) -> None:
    """Have so many jobs block, each in a thread."""
    begun = threading.Semaphore(0)

    def block() -> None:
        begun.release()
        release.wait(SECONDS)

    for _ in range(count):
        pool.start_now(block)
    for _ in range(count):
        assert begun.acquire(timeout=SECONDS)


def test_jobs_run_and_threads_are_used_again() -> None:
    pool, idents, done = ThreadPool(), set(), threading.Semaphore(0)

    def job() -> None:
        idents.add(threading.get_ident())
        done.release()

    for _ in range(50):
        pool.start(job)
        assert done.acquire(timeout=SECONDS)
    assert len(idents) < 50
    pool.stop()


def test_no_more_than_the_common_number_of_threads_is_started_at_once(
    release: threading.Event,
) -> None:
    told = threading.Event()
    pool, ran = ThreadPool(told.set, common=2), threading.Event()
    blocked(pool, 2, release)
    assert not told.is_set()
    pool.start(ran.set)
    assert told.is_set()
    assert pool._threads == 2
    assert not ran.is_set()
    release.set()
    assert ran.wait(SECONDS)


def test_the_owners_of_jobs_take_turns(release: threading.Event) -> None:
    pool, ran = ThreadPool(common=1), []
    blocked(pool, 1, release)
    done = threading.Event()
    for name in ("a1", "a2", "a3", "b1"):
        pool.start(partial(ran.append, name), name[0])
    pool.start(done.set, "a")
    release.set()
    assert done.wait(SECONDS)
    assert ran == ["a1", "b1", "a2", "a3"]


def test_a_job_that_may_not_wait_has_its_thread_at_once(release: threading.Event) -> None:
    pool, late, ran = ThreadPool(common=2), threading.Event(), threading.Event()
    blocked(pool, 2, release)
    pool.start(late.set)
    pool.start_now(ran.set)
    assert ran.wait(SECONDS)


def test_where_no_job_begins_one_more_thread_is_started_at_each_look(
    release: threading.Event,
) -> None:
    pool = ThreadPool(common=1)
    blocked(pool, 1, release)
    begun = threading.Semaphore(0)

    def block() -> None:
        begun.release()
        release.wait(SECONDS)

    pool.look()
    for number in range(3):
        pool.start(block)
        pool.look()
        assert begun.acquire(timeout=SECONDS), number
        pool.look()  # notes that one has begun
    assert not pool.waiting


def test_threads_above_the_common_number_end_when_they_are_not_needed(
    release: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, idle = ThreadPool(common=1), []
    wait = pool._changed.wait

    def note(seconds: float) -> bool:
        idle.append(pool._idle)
        return wait(seconds)

    monkeypatch.setattr(pool._changed, "wait", note)
    blocked(pool, 5, release)
    release.set()
    wait_until(lambda: pool._threads <= 1)
    pool.stop()
    assert set(idle) == {1}


def test_the_largest_number_of_threads_is_never_exceeded(release: threading.Event) -> None:
    pool = ThreadPool(common=1, most=2)
    blocked(pool, 2, release)
    pool.start(lambda: None)
    for _ in range(3):
        pool.look()
    assert pool._threads == 2
    assert pool.waiting


def test_what_a_job_raises_is_logged_and_its_thread_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool, ran = ThreadPool(common=1), threading.Event()

    def leave() -> None:
        raise SystemExit("not the pool's")

    with caplog.at_level(logging.ERROR, "npipe.rpc"):
        pool.start(leave)
        pool.start(ran.set)
        assert ran.wait(SECONDS)
    assert "a call in a thread failed" in caplog.text
    assert pool._threads == 1
    pool.stop()


def test_without_a_thread_to_be_had_the_caller_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = ThreadPool()
    monkeypatch.setattr(threading.Thread, "start", none)
    with pytest.raises(RuntimeError):
        pool.start(lambda: None)
    with pytest.raises(RuntimeError):
        pool.start_now(lambda: None)
    assert (len(pool._jobs), pool._threads) == (0, 0)


def test_with_one_thread_and_no_more_to_be_had_jobs_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, release: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    pool, ran = ThreadPool(), threading.Event()
    blocked(pool, 1, release)

    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    pool.start(ran.set)
    pool.look()  # notes that one has begun
    pool.look()
    assert "1 calls wait" in caplog.text
    release.set()
    assert ran.wait(SECONDS)


def test_idle_threads_end_after_a_while_and_at_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.01)
    pool, threads = ThreadPool(), []
    pool.start(lambda: threads.append(threading.current_thread()))
    while not threads:
        threading.Event().wait(0.001)
    threads[0].join(SECONDS)
    assert pool._threads == 0
    monkeypatch.setattr(module, "IDLE_SECONDS", SECONDS)
    pool.start(lambda: threads.append(threading.current_thread()))
    while len(threads) < 2:
        threading.Event().wait(0.001)
    pool.stop()
    threads[1].join(SECONDS)
    assert pool._threads == 0

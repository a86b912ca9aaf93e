"""The one thread of the chain: order, outcomes, the tick, the end."""

from __future__ import annotations

import threading

import pytest

from npipe.ethereum.errors import ChainError
from npipe.ethereum.node.worker import CooperativeJob, Worker


@pytest.fixture
def worker() -> object:
    made = Worker()
    yield made
    made.close()


def test_everything_runs_in_one_thread_that_is_not_ours(worker: Worker) -> None:
    idents = {worker.call(threading.get_ident) for _ in range(3)}
    assert len(idents) == 1
    assert threading.get_ident() not in idents


def test_results_and_exceptions_come_back(worker: Worker) -> None:
    assert worker.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        worker.call(divmod, 1, 0)
    assert worker.call(str) == ""  # it lives on


def test_a_job_may_use_the_worker_itself(worker: Worker) -> None:
    assert worker.call(lambda: worker.call(int, "5")) == 5


def test_jobs_do_not_overlap(worker: Worker) -> None:
    running, most = 0, 0

    def job() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        running -= 1

    threads = [threading.Thread(target=worker.call, args=(job,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_what_is_queued_is_done_before_the_end() -> None:
    worker, go, done = Worker(), threading.Event(), []
    threads = [threading.Thread(target=worker.call, args=(go.wait, 20))]
    threads[0].start()
    late = threading.Thread(target=lambda: worker.call(done.append, 1))
    late.start()
    while worker._arrivals.qsize() == 0:  # until it is behind the first
        threading.Event().wait(0.001)
    closing = threading.Thread(target=worker.close)
    closing.start()
    go.set()
    for thread in (*threads, late, closing):
        thread.join(60)
    assert done == [1]
    with pytest.raises(ChainError, match="has been stopped"):
        worker.call(int)
    worker.close()


def test_a_job_in_steps_gives_what_it_returns_or_raises(worker: Worker) -> None:
    def steps(last: int) -> CooperativeJob[int]:
        yield
        yield
        return 6 // last

    assert worker.run_steps(steps(2)) == 3
    with pytest.raises(ZeroDivisionError):
        worker.run_steps(steps(0))
    assert worker.call(lambda: worker.run_steps(steps(1))) == 6  # from within: at once
    assert worker.call(int) == 0


def test_a_job_in_steps_is_finished_before_the_end() -> None:
    worker, begun, go, done = Worker(), threading.Event(), threading.Event(), []

    def steps() -> CooperativeJob[None]:
        begun.set()
        go.wait(20)
        for number in range(100):
            done.append(number)
            yield

    running = threading.Thread(target=worker.run_steps, args=(steps(),))
    running.start()
    assert begun.wait(20)
    closing = threading.Thread(target=worker.close)
    closing.start()
    while not worker._closed:
        threading.Event().wait(0.001)
    go.set()
    running.join(60)
    closing.join(60)
    assert done == list(range(100))


def test_it_ticks_until_told_not_to(worker: Worker) -> None:
    ticks = threading.Semaphore(0)
    worker.every(0.005, ticks.release)
    for _ in range(3):
        assert ticks.acquire(timeout=60)
    worker.every(0, ticks.release)
    while ticks.acquire(blocking=False):
        pass
    assert not ticks.acquire(timeout=0.05)


def test_it_ticks_when_it_is_busy_too(worker: Worker) -> None:
    ticks, stop = threading.Semaphore(0), threading.Event()

    def keep_busy() -> None:
        while not stop.is_set():
            worker.call(int)

    threads = [threading.Thread(target=keep_busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    worker.every(0.01, ticks.release)
    arrived = [ticks.acquire(timeout=60) for _ in range(3)]
    stop.set()
    for thread in threads:
        thread.join()
    assert all(arrived)


def test_a_failing_tick_does_not_end_it(worker: Worker) -> None:
    ticks = threading.Semaphore(0)

    def fail() -> None:
        ticks.release()
        raise ChainError("no block this time")

    worker.every(0.005, fail)
    assert ticks.acquire(timeout=60) and ticks.acquire(timeout=60)
    assert worker.call(int) == 0


def test_the_size_of_other_threads_stacks_is_left_alone(worker: Worker) -> None:
    assert threading.stack_size() == 0

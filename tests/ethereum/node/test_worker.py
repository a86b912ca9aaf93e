"""The one thread of the chain: order, outcomes, the tick, the end."""

from __future__ import annotations

import threading

import pytest

from npipe.ethereum.errors import ChainError, Stopped
from npipe.ethereum.node.worker import CooperativeJob, Trial, Worker


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
    closing = threading.Thread(target=worker.close, args=(60,))
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
    closing = threading.Thread(target=worker.close, args=(60,))
    closing.start()
    while not worker._closed:
        threading.Event().wait(0.001)
    go.set()
    running.join(60)
    closing.join(60)
    assert done == list(range(100))


def test_what_a_job_in_steps_yields_runs_elsewhere_and_only_reads_pass(worker: Worker) -> None:
    begun, go, order = threading.Event(), threading.Event(), list[str]()

    def tried() -> int:
        begun.set()
        assert go.wait(60)
        return threading.get_ident()

    def steps() -> CooperativeJob[bool]:
        elsewhere = yield tried
        with pytest.raises(ZeroDivisionError):
            yield lambda: 1 // 0
        order.append("steps")
        return elsewhere != threading.get_ident()

    answers: list[bool] = []
    first = threading.Thread(target=lambda: answers.append(worker.run_steps(steps(), caller=1)))
    first.start()
    assert begun.wait(60)
    write = threading.Thread(
        target=worker.run, args=(lambda: order.append("write"),), kwargs={"writes": True}
    )
    write.start()
    while worker._arrivals.qsize() == 0 and len(worker._turns) < 2:
        threading.Event().wait(0.001)  # until it waits, which nothing announces
    assert worker.run(lambda: order.append("read") or 5, caller=2) == 5
    assert order == ["read"]
    go.set()
    first.join(60)
    write.join(60)
    assert answers == [True]
    assert order == ["read", "steps", "write"]
    assert worker.call(lambda: worker.run_steps(steps())) is False  # from within: here


def test_at_the_end_what_runs_is_told_to_stop_and_what_waits_is_refused() -> None:
    stopping, begun = threading.Event(), threading.Event()
    worker, outcomes = Worker(stopping=stopping), dict[str, object]()

    def run(name: str, job: Trial[object]) -> None:
        try:
            outcomes[name] = worker.run(job)
        except Stopped as error:
            outcomes[name] = error.message

    def job() -> bool:
        begun.set()
        return stopping.wait(60)

    threads = [threading.Thread(target=run, args=("runs", job))]
    threads[0].start()
    assert begun.wait(60)
    threads.append(threading.Thread(target=run, args=("waits", int)))
    threads[-1].start()
    while len(worker._turns) == 0:
        threading.Event().wait(0.001)  # until it waits, which nothing announces
    worker.close(grace=0)
    for thread in threads:
        thread.join(60)
    assert outcomes == {"runs": True, "waits": "the chain has been stopped"}


def test_a_job_in_steps_is_interrupted_at_the_end(worker: Worker) -> None:
    begun, closed = threading.Event(), list[bool]()

    def steps() -> CooperativeJob[None]:
        try:
            while True:
                begun.set()
                yield None
        except GeneratorExit:
            closed.append(True)
            raise

    outcome: list[BaseException] = []

    def run() -> None:
        try:
            worker.run_steps(steps())
        except Stopped as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert begun.wait(60)
    worker.close(grace=0)
    thread.join(60)
    assert len(outcome) == 1
    assert closed == [True]


def test_what_a_caller_asked_before_it_went_is_not_begun(worker: Worker) -> None:
    done: list[str] = []
    with pytest.raises(Stopped):
        worker.run(lambda: done.append("read"), gone=lambda: True)
    worker.run(lambda: done.append("write"), writes=True, gone=lambda: True)
    assert done == ["write"]  # it may have been sent by a program that ended right after
    worker._closed = True
    with pytest.raises(Stopped):
        worker.trials.run(lambda: done.append("trial"), gone=lambda: True)
    assert done == ["write"]


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

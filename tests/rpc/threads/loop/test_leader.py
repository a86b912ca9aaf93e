"""Tests of npipe.rpc.threads.loop.leader: each interleaving of a call's end and a hand-over."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from npipe.rpc import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session
from npipe.rpc.threads.loop.leader import FEW_DEADLINES, LIGHT_EACH, TOGETHER, ServerLoop
from npipe.rpc.threads.loop.poller import READ
from npipe.rpc.threads.loop.pollers import make_poller
from npipe.rpc.threads.loop.pool import ThreadPool
from npipe.rpc.threads.loop.selector_poller import WokenPoller
from npipe.rpc.threads.slow_calls import SlowCallMonitor

SECONDS = 60
TOKEN = object()  # of the leader that the test plays


class Pool:
    """A pool whose threads begin when the test says so."""

    waiting = False

    def __init__(self) -> None:
        self.jobs: list[Callable[[], object]] = []
        self.on_start: Callable[[Callable[[], object]], object] = self.jobs.append

    def start_now(self, job: Callable[[], object]) -> None:
        self.on_start(job)

    def look(self) -> None:
        pass


class Call:
    def __init__(self, run: Callable[[], object] = lambda: None) -> None:
        self.run = run
        self.method = SimpleNamespace(slow=False)


class Driver:
    """A connection, as the loop sees it."""

    fd = -1
    heavy = False
    session = Session(Dispatcher(API()), connection_id=7)

    def __init__(self) -> None:
        self.has_calls = False  # in what is read
        self.pumped: list[object] = []
        self.timers: list[float] = []
        self.events: list[int] = []
        self.happened = threading.Semaphore(0)
        self.leads = True
        self.on_pump: Callable[[object], bool] = lambda token: True

    def pump(self, token: object) -> bool:
        self.pumped.append(token)
        self.happened.release()
        return self.on_pump(token)

    def on_event(self, event: int) -> bool:
        self.events.append(event)
        self.happened.release()
        return self.has_calls

    def on_timer(self, now: float) -> None:
        self.timers.append(now)
        self.happened.release()

    def wait(self) -> None:
        assert self.happened.acquire(timeout=SECONDS)


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def loop(pool: Pool) -> Iterator[Any]:
    """A loop that leads in no thread: its steps are those of the test."""
    monitor = SlowCallMonitor()
    monitor.awake = True
    loop = ServerLoop(pool, monitor)  # type: ignore[arg-type]
    loop._leader = TOKEN
    loop._poller = make_poller()
    yield loop
    loop._poller.close()
    monitor.stop()


# The end of a call, and the monitor


def test_a_call_that_ends_between_two_looks_keeps_the_lead(loop: Any, pool: Pool) -> None:
    call = Call(loop.look)
    assert loop.run_here(Driver(), call, TOKEN)
    loop.look()
    assert not (pool.jobs or call.method.slow or loop.busy)


def test_two_looks_within_one_call_hand_the_lead_over(loop: Any, pool: Pool) -> None:
    driver = Driver()

    def run() -> None:
        loop.look()
        assert loop.busy
        loop.look()
        loop.look()  # handed over once

    call = Call(run)
    assert not loop.run_here(driver, call, TOKEN)
    (lead,) = pool.jobs
    assert call.method.slow
    assert not loop.busy
    loop.stop()
    lead()  # what came after the call is dealt with first
    assert driver.pumped == [loop._leader]
    assert driver.pumped != [TOKEN]


def test_looks_in_two_calls_are_no_sign_of_a_slow_one(loop: Any, pool: Pool) -> None:
    for _ in range(5):
        assert loop.run_here(Driver(), Call(loop.look), TOKEN)
    assert not pool.jobs


def test_a_hand_over_just_before_the_call_notes_its_end(loop: Any, pool: Pool) -> None:
    lock = loop._lock

    class Hooked:
        def __enter__(self) -> None:
            loop._lock = lock
            loop.look()  # the second: the call has returned, and has not said so
            lock.acquire()

        def __exit__(self, *exc: object) -> None:
            lock.release()

    def run() -> None:
        loop.look()
        loop._lock = Hooked()

    assert not loop.run_here(Driver(), Call(run), TOKEN)
    assert len(pool.jobs) == 1


def test_a_hand_over_just_after_the_call_noted_its_end(loop: Any, pool: Pool) -> None:
    lock, driver = loop._lock, Driver()

    class Hooked:
        """The monitor has seen the same call twice, and waits for the lock."""

        def __enter__(self) -> None:
            loop._lock = lock
            with lock:
                loop._running = None
                loop.progress += 1
            lock.acquire()

        def __exit__(self, *exc: object) -> None:
            lock.release()

    call = Call()
    loop._running, loop.progress = (driver, call), 1
    loop.look()
    loop._lock = Hooked()
    loop.look()
    assert not (pool.jobs or call.method.slow)


def test_a_hand_over_after_the_next_call_has_begun(loop: Any, pool: Pool) -> None:
    lock, driver, following = loop._lock, Driver(), Call()

    class Hooked:
        """The monitor has seen the same call twice, and waits for the lock."""

        def __enter__(self) -> None:
            loop._lock = lock
            with lock:
                loop._running = driver, following
                loop.progress += 2
            lock.acquire()

        def __exit__(self, *exc: object) -> None:
            lock.release()

    loop._running, loop.progress = (driver, Call()), 1
    loop.look()
    loop._lock = Hooked()
    loop.look()
    assert not (pool.jobs or following.method.slow)


def test_a_loop_that_stops_is_not_handed_over(loop: Any, pool: Pool) -> None:
    def run() -> None:
        loop.stop()
        for _ in range(3):
            loop.look()

    assert loop.run_here(Driver(), Call(run), TOKEN)
    assert not pool.jobs


def test_the_next_call_begins_before_the_monitor_has_finished_the_hand_over(
    loop: Any, pool: Pool
) -> None:
    # What the monitor wrote after it had started the thread was what the thread had written.
    driver, begun, end = Driver(), threading.Event(), threading.Event()

    def run_next() -> None:
        begun.set()
        assert end.wait(SECONDS)

    threads: list[threading.Thread] = []

    def start(lead: Callable[[], object]) -> None:
        driver.on_pump = lambda token: loop.run_here(driver, following, token)
        threads.append(threading.Thread(target=lead))
        threads[0].start()
        assert begun.wait(SECONDS)

    def run() -> None:
        loop.look()
        loop.look()

    following = Call(run_next)
    pool.on_start = start
    assert not loop.run_here(driver, Call(run), TOKEN)
    assert loop._running == (driver, following)
    assert loop.busy
    loop._stopped = True
    end.set()
    threads[0].join(SECONDS)
    assert (loop._running, loop.busy) == (None, False)


def test_without_a_thread_to_be_had_the_leader_leads_on(loop: Any, pool: Pool) -> None:
    def none(lead: object) -> None:
        raise RuntimeError("can't start new thread")

    def run() -> None:
        for _ in range(3):
            loop.look()
        assert loop.busy

    pool.on_start = none
    call = Call(run)
    assert loop.run_here(Driver(), call, TOKEN)
    assert not loop.busy


def test_a_call_wakes_the_monitor(loop: Any) -> None:
    loop._monitor.awake = False
    assert loop.run_here(Driver(), Call(), TOKEN)
    assert loop._monitor.awake


@pytest.mark.parametrize("error", [SystemExit("a function"), KeyboardInterrupt(), ValueError()])
def test_what_a_call_raises_does_not_end_the_loop(loop: Any, error: BaseException) -> None:
    def run() -> None:
        raise error

    assert loop.run_here(Driver(), Call(run), TOKEN)
    assert not loop.busy


# A leader that has lost the lead, and what it is reported


class Events:
    """A poller that reports events once, then stops the loop."""

    def __init__(self, loop: Any, *events: tuple[int, int]) -> None:
        self.timeouts: list[float | None] = []
        self.drained: list[int] = []
        self.drain = self.drained.append
        self._events = [*events]
        self._loop = loop
        loop._poller.close()
        loop._poller = self

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        self.timeouts.append(seconds)
        events, self._events = self._events, []
        self._loop._stopped = not events
        return events

    def wake(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("how", ["first", "todo", "event"])
def test_a_leader_that_has_lost_the_lead_does_nothing_more(loop: Any, how: str) -> None:
    lost, other = Driver(), Driver()
    lost.fd, other.fd = 1, 2
    lost.on_pump = lambda token: False
    lost.has_calls = other.has_calls = True
    loop._drivers = {1: lost, 2: other}
    poller = Events(loop, (1, READ), (2, READ))
    if how == "todo":
        loop._todo.append(lost)
    if how != "event":
        loop._todo.append(other)
    loop._lead(TOKEN, lost if how == "first" else None)
    assert not other.pumped
    assert len(other.events) == len(poller.timeouts) == (how == "event")


def test_an_event_of_a_connection_that_is_gone_is_drained(loop: Any) -> None:
    poller, driver = Events(loop, (1, READ), (2, READ)), Driver()
    loop._drivers = {2: driver}
    loop._lead(TOKEN, None)
    assert (poller.drained, driver.events) == ([1], [READ])


def test_the_leader_does_not_sleep_while_a_request_is_left(loop: Any) -> None:
    poller = Events(loop)
    loop.request(Driver())
    loop._wait(poller)
    assert poller.timeouts == [0.0]


# The loop in a thread of its own


@pytest.fixture
def running() -> Iterator[ServerLoop]:
    monitor = SlowCallMonitor()
    pool = ThreadPool(monitor.wake)
    loop = ServerLoop(pool, monitor)
    loop.start()
    loop.start()  # nothing more
    yield loop
    loop.stop()
    monitor.stop()
    pool.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="a port takes no sockets")
def test_a_connection_is_served_when_it_is_ready(running: ServerLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        driver = Driver()
        driver.fd = ours.fileno()
        running.add(driver)  # type: ignore[arg-type]
        running.change(driver.fd, 0, READ)
        theirs.send(b"x")
        driver.wait()
        assert driver.events[0] & READ
        running.remove(driver)  # type: ignore[arg-type]
        running.change(driver.fd, READ, 0)


def test_requests_and_deadlines_of_other_threads_wake_the_leader(running: ServerLoop) -> None:
    driver = Driver()
    now = time.monotonic()
    running.schedule(driver, now + 1000)  # type: ignore[arg-type]
    running.request(driver)  # type: ignore[arg-type]
    driver.wait()
    assert (len(driver.pumped), driver.timers) == (1, [])
    running.schedule(driver, now)  # type: ignore[arg-type]
    driver.wait()
    assert len(driver.timers) == 1


def test_a_job_runs_in_the_leader_and_cannot_end_it(
    running: ServerLoop, caplog: pytest.LogCaptureFixture
) -> None:
    threads: list[int] = []

    def job() -> None:
        threads.append(threading.get_ident())
        raise SystemExit

    running.run(job)
    assert threads == [wait_for_leader(running)]
    assert "a job of the loop failed" in caplog.text


def test_a_job_for_a_loop_that_has_stopped_is_not_waited_for() -> None:
    monitor = SlowCallMonitor()
    pool = ThreadPool()
    loop = ServerLoop(pool, monitor)
    loop.start()
    loop.stop()
    loop.run(lambda: None)
    pool.stop()
    monitor.stop()


def test_closed_connections_do_not_stay_until_their_deadlines(running: ServerLoop) -> None:
    now, still_open = time.monotonic(), Driver()
    still_open.fd = 1_000_000
    running.add(still_open)  # type: ignore[arg-type]
    running.schedule(still_open, now + 3600)  # type: ignore[arg-type]
    for number in range(1000):
        driver = Driver()
        driver.fd = 2_000_000 + number
        running.add(driver)  # type: ignore[arg-type]
        running.schedule(driver, now + 3000)  # type: ignore[arg-type]
        running.remove(driver)  # type: ignore[arg-type]
    assert len(running._deadlines) <= FEW_DEADLINES
    assert still_open in [driver for _, _, driver in running._deadlines]
    running.remove(still_open)  # type: ignore[arg-type]


def test_deadlines_are_kept_in_their_order(running: ServerLoop) -> None:
    driver, later = Driver(), Driver()
    now = time.monotonic()
    running.schedule(later, now + 0.02)  # type: ignore[arg-type]
    running.schedule(driver, now + 0.01)  # type: ignore[arg-type]
    later.wait()
    assert driver.timers <= later.timers
    assert later.timers[0] >= now + 0.02


@pytest.mark.skipif(sys.platform == "win32", reason="a port takes no sockets")
# The turns of connections


class Script:
    """A poller whose events are prepared. The loop stops after the last ones."""

    def __init__(self, loop: ServerLoop, *rounds: list[int]) -> None:
        self._loop = loop
        self._rounds = list(rounds)

    def wait(self, seconds: float | None) -> list[tuple[int, int]]:
        if not self._rounds:
            self._loop._stopped = True
            return []
        return [(fd, READ) for fd in self._rounds.pop(0)]

    def close(self) -> None:
        pass


class Named(Driver):
    """A driver that writes down when it has its turn."""

    def __init__(self, fd: int, turns: list[int], *, heavy: bool = False) -> None:
        super().__init__()
        self.fd, self.heavy, self._turns = fd, heavy, turns

    def on_event(self, event: int) -> bool:
        self._turns.append(self.fd)
        return self.has_calls

    def pump(self, token: object) -> bool:
        self._turns.append(-self.fd)
        return self.on_pump(token)


def lead(loop: Any, turns: list[int], *rounds: list[int], heavy: tuple[int, ...] = ()) -> None:
    """Lead through the rounds, with drivers 1 to 4."""
    before, loop._poller = loop._poller, Script(loop, *rounds)
    for fd in range(1, 5):
        loop._drivers[fd] = loop._drivers.get(fd) or Named(fd, turns, heavy=fd in heavy)
    loop._lead(TOKEN, None)
    loop._poller = before


def test_of_the_heavy_connections_one_has_its_turn_after_all_others(loop: Any) -> None:
    turns: list[int] = []
    lead(loop, turns, [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3], heavy=(1, 2))
    assert turns == [3, 4, 1, 3, 4, 2, 3, 1, 2]  # 2 has its turn in the last, empty round


def test_many_busy_connections_do_not_starve_the_heavy_ones(loop: Any) -> None:
    """A large message takes several reads, and has a time limit."""
    turns: list[int] = []
    light = list(range(10, 10 + 2 * LIGHT_EACH))
    loop._drivers.update((fd, Named(fd, turns)) for fd in light)
    lead(loop, turns, [1, 2, 3, 4, *light], heavy=(1, 2, 3, 4))
    assert turns[: len(light)] == light
    assert turns[len(light) :] == [1, 2, 3, 4]  # three, and one in the last, empty round


def test_a_heavy_connection_that_was_closed_before_its_turn_is_left_out(loop: Any) -> None:
    turns: list[int] = []
    loop._drivers[3] = closer = Named(3, turns)
    closer.on_event = lambda event: loop._drivers.pop(1) is None  # type: ignore[method-assign]
    lead(loop, turns, [1, 3], heavy=(1,))
    assert turns == []


def test_a_connection_that_asks_for_another_turn_has_it_after_the_others(loop: Any) -> None:
    turns: list[int] = []
    loop._drivers[1] = again = Named(1, turns)

    def ask_again(token: object) -> bool:
        if turns.count(-1) < 3:
            loop.request(again)
        return True

    again.on_pump = ask_again
    loop.request(again)
    lead(loop, turns, [2], [3], [])
    assert turns == [-1, 2, -1, 3, -1]


def reading(loop: Any, turns: list[int], count: int) -> list[int]:
    """Make connections, each of which has a call in what is read; return their numbers."""
    numbers = list(range(1, count + 1))
    for fd in numbers:
        loop._drivers[fd] = driver = Named(fd, turns)
        driver.has_calls = True
    return numbers


def test_a_few_connections_are_read_before_the_first_is_answered(loop: Any) -> None:
    turns: list[int] = []
    numbers = reading(loop, turns, 2 * TOGETHER + 1)
    lead(loop, turns, numbers)
    first, second, last = numbers[:TOGETHER], numbers[TOGETHER:-1], numbers[-1]
    answers = [[-fd for fd in part] for part in (first, second)]
    assert turns == [*first, *answers[0], *second, *answers[1], last, -last]


@pytest.mark.parametrize("count", [4, TOGETHER])
def test_a_leader_that_was_replaced_leaves_what_was_read_to_the_next(loop: Any, count: int) -> None:
    turns: list[int] = []
    numbers = reading(loop, turns, count)
    loop._drivers[2].on_pump = lambda token: False
    lead(loop, turns, numbers, [])
    assert turns == [*numbers, -1, -2]
    loop._stopped = False
    lead(loop, turns, [])
    assert turns == [*numbers, *(-fd for fd in numbers)]


@pytest.mark.skipif(sys.platform == "win32", reason="a port has no descriptor")
def test_stop_closes_its_descriptors() -> None:
    monitor = SlowCallMonitor()
    pool = ThreadPool()
    loop = ServerLoop(pool, monitor)
    loop.start()
    assert isinstance(loop._poller, WokenPoller)
    fd = loop._poller._waker.fd
    os.fstat(fd)
    ident = wait_for_leader(loop)
    thread = next(t for t in threading.enumerate() if t.ident == ident)
    loop.stop()
    pool.stop()
    thread.join(SECONDS)
    with pytest.raises(OSError):
        os.fstat(fd)
    loop.stop()
    loop.wake()
    loop.start()
    with pytest.raises(OSError):
        os.fstat(fd)
    monitor.stop()


def wait_for_leader(loop: ServerLoop) -> int:
    driver = Driver()
    loop.request(driver)  # type: ignore[arg-type]
    driver.wait()
    return loop._leader_id

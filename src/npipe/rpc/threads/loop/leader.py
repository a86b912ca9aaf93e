"""The event loop of a server with threads: leader and followers.

One thread, the leader, waits for all connections. It reads, runs the plain functions that were
called and writes their replies, so that a call costs no switch of threads and a connection no
thread. Where a call takes longer than ``PATIENCE``, the monitor has a fresh thread lead on, and
the method is remembered as slow: from then on its calls go to the thread pool.

Who may do what:

* The thread that holds the lead (``_leader`` is its token) is the only one that polls, reads,
  feeds the framing of any connection and runs timers. It finds out under ``_lock`` that it has
  lost the lead, when the call that it was running has ended; it then touches none of these again.
* ``_lock`` guards ``_leader``, ``_running`` and ``progress``: a call ends, or is taken away from
  the leader, but never both. ``progress`` is odd while the leader runs a call.
* ``_todo`` (connections with calls that may begin now) and the heap of deadlines may be added to
  by any thread. Who adds wakes the leader.

What wakes the leader: an event of a connection, the next deadline, ``_waker``. An event that is not
dealt with when the lead changes is reported again (level-triggered).
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Protocol

from npipe.rpc.threads.loop.poller import READ, Poller, make_poller
from npipe.rpc.threads.loop.pool import ThreadPool
from npipe.rpc.threads.slow_calls import SlowCallMonitor
from npipe.rpc.threads.spin_read import cores

if TYPE_CHECKING:
    from npipe.rpc.session.served_calls import ServedCall
    from npipe.rpc.session.session import Session

__all__ = ["ServerLoop"]

log = logging.getLogger("npipe.rpc")

SPIN_SECONDS = 50e-6  # to poll before sleeping: about what it takes to wake a sleeping thread
LONGEST_REST = 63  # waits without polling, after polling was in vain

Token = object
"""Stands for the lead, by its identity."""


class Served(Protocol):
    """A connection, as the loop sees it."""

    @property
    def fd(self) -> int: ...
    @property
    def session(self) -> Session: ...

    def pump(self, token: Token) -> bool:
        """Begin the calls that may begin. False: another thread leads by now."""

    def on_event(self, event: int, token: Token) -> bool:
        """Deal with an event. False: another thread leads by now."""

    def on_timer(self, now: float) -> None:
        """Enforce the time limits."""


class ServerLoop:
    """Serves any number of connections. Its methods may be called from any thread."""

    def __init__(self, pool: ThreadPool, monitor: SlowCallMonitor) -> None:
        """Make a loop that does nothing yet.

        Args:
            pool: Lends the threads that lead.
            monitor: Calls ``look`` while a call runs.
        """
        self.progress = 0  # odd: the leader runs a call
        self._pool = pool
        self._monitor = monitor
        self._lock = threading.Lock()
        self._leader: Token = None
        self._leader_id = 0  # of its thread
        self._running: tuple[Served, ServedCall] | None = None
        self._seen = 0  # ``progress`` at the monitor's last look
        self._drivers: dict[int, Served] = {}
        self._todo: deque[Served] = deque()
        self._deadlines: list[tuple[float, int, Served]] = []
        self._deadline_lock = threading.Lock()
        self._numbers = count()
        self._poller: Poller | None = None
        self._waker: Waker | None = None
        self._stopped = False
        # On a single core whoever polls keeps the peer from running.
        self._spin = SpinWait(SPIN_SECONDS if cores() > 1 else 0.0)

    # The life of the loop

    def start(self) -> None:
        """Begin to wait for connections. Idempotent.

        Raises:
            RuntimeError: No thread is to be had.
            OSError: No descriptor is to be had.
        """
        with self._lock:
            if self._poller is not None or self._stopped:
                return
            poller = make_poller()
            try:
                self._waker = waker = Waker()
            except BaseException:
                poller.close()
                raise
            poller.change(waker.fd, 0, READ)
            self._poller = poller
            self._leader = token = object()
            self._monitor.add(self)
            try:
                self._pool.start_now(partial(self._lead, token, None))
            except RuntimeError:
                self._leader = self._poller = self._waker = None
                poller.close()
                waker.close()
                raise

    def stop(self) -> None:
        """Poll no more. The connections must have been closed. Idempotent."""
        self._stopped = True
        self.wake()

    # What drivers call

    def add(self, driver: Served) -> None:
        """Wait for what a connection sends."""
        self.start()
        self._drivers[driver.fd] = driver

    def remove(self, driver: Served) -> None:
        """Forget a connection. Call it before its descriptor is closed."""
        if self._drivers.get(driver.fd) is driver:
            del self._drivers[driver.fd]

    def change(self, fd: int, before: int, now: int) -> None:
        """Wait for other events of a connection; see ``Poller.change``."""
        if self._poller is not None:
            self._poller.change(fd, before, now)

    def request(self, driver: Served) -> None:
        """Have the leader begin the calls of a connection that may begin now."""
        self._todo.append(driver)
        self.wake()

    def schedule(self, driver: Served, when: float) -> None:
        """Have ``driver.on_timer`` called.

        Args:
            driver: The connection.
            when: The earliest moment, by ``time.monotonic()``.
        """
        with self._deadline_lock:
            heapq.heappush(self._deadlines, (when, next(self._numbers), driver))
        self.wake()

    def wake(self) -> None:
        """Have the leader look at what there is to do; nothing if this is its thread."""
        waker = self._waker
        if waker is not None and threading.get_ident() != self._leader_id:
            waker.wake()

    def run_here(self, driver: Served, call: ServedCall, token: Token) -> bool:
        """Run a call in the leader's thread.

        Returns:
            False: it took so long that another thread leads by now.
        """
        self._running = driver, call
        self.progress += 1
        monitor = self._monitor
        if not monitor.awake:
            monitor.wake()
        try:
            call.run()
        except BaseException:  # SystemExit and the like: answered, and not the loop's business
            log.exception("connection %06d: a function", driver.session.connection_id)
        with self._lock:
            if self._leader is not token:
                return False
            self._running = None
            self.progress += 1
            return True

    # What the monitor calls

    @property
    def busy(self) -> bool:
        """True while the leader runs a call, or calls wait for a thread."""
        return bool(self.progress & 1) or self._pool.waiting

    def look(self) -> None:
        """Have a fresh thread lead on if the leader is in the same call as at the last look."""
        progress = self.progress
        if progress & 1 and progress == self._seen:
            self._hand_over(progress)
        self._seen = progress
        self._pool.look()

    def _hand_over(self, progress: int) -> None:
        with self._lock:
            running, before = self._running, self._leader
            if progress != self.progress or running is None or self._stopped:
                return
            driver, call = running
            # All of it before the thread starts, which may run the next call at once.
            self._leader = token = object()
            self._running = None
            self.progress += 1
            call.method.slow = True
            try:
                self._pool.start_now(partial(self._lead, token, driver))
            except RuntimeError:  # no thread to be had: the others wait for this call
                self._leader, self._running = before, running
                self.progress += 1  # odd again

    # The leader

    def _lead(self, token: Token, first: Served | None) -> None:
        """Serve until the lead is lost.

        Args:
            token: Stands for the lead.
            first: Had a call running when the lead changed; what came after it waits.
        """
        self._leader_id = threading.get_ident()
        if first is not None and not first.pump(token):
            return
        todo, drivers = self._todo, self._drivers
        while not self._stopped:
            while todo:
                if not todo.popleft().pump(token):
                    return
            asked, events = self._wait()
            for fd, event in events:
                driver = drivers.get(fd)
                if driver is None:
                    self._rest_of(fd)
                elif not driver.on_event(event, token):
                    return
            if self._deadlines:
                self._run_timers(asked)
        self._close()

    def _wait(self) -> tuple[float, list[tuple[int, int]]]:
        """Wait for events. Return when that began, and the events.

        A deadline that passed before that moment has passed for good: had anything come in time,
        it would be among the events.
        """
        poller = self._poller
        assert poller is not None
        asked, timeout = 0.0, None
        if self._deadlines:
            asked = time.monotonic()
            timeout = max(0.0, self._deadlines[0][0] - asked)
        if self._todo:
            timeout = 0.0
        return asked, self._spin.poll(poller, timeout) or poller.wait(timeout)

    def _rest_of(self, fd: int) -> None:
        waker = self._waker
        if waker is not None and fd == waker.fd:
            waker.drain()

    def _run_timers(self, asked: float) -> None:
        while True:
            with self._deadline_lock:
                if not self._deadlines or self._deadlines[0][0] > asked:
                    return
                _, _, driver = heapq.heappop(self._deadlines)
            driver.on_timer(asked)

    def _close(self) -> None:
        with self._lock:
            poller, waker, self._waker = self._poller, self._waker, None
        if poller is not None:
            poller.close()
        if waker is not None:
            waker.close()


class SpinWait:
    """Polls for a moment before the leader goes to sleep, as long as that pays.

    In a conversation the next message comes within some ten microseconds, and a thread that
    sleeps on an idle core takes longer than that to wake. After a poll in vain the next wait does
    not poll, then the next 3, 7 and so on: an idle server costs nothing.
    """

    def __init__(self, seconds: float) -> None:
        """``seconds``: how long to poll; 0: never."""
        self._seconds = seconds
        self._failures = self._rest = 0

    def poll(self, poller: Poller, timeout: float | None) -> list[tuple[int, int]]:
        """Return the events that come at once; none: wait for them."""
        if not self._seconds or timeout == 0:
            return []
        if self._rest:
            self._rest -= 1
            return []
        until = time.perf_counter() + self._seconds
        while not (events := poller.wait(0)) and time.perf_counter() < until:
            yield_processor()  # the peer may want this very core
        self._failures = self._rest = 0 if events else min(2 * self._failures + 1, LONGEST_REST)
        return events


yield_processor: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))


class Waker:
    """A pair of sockets whose one end is ready to be read after ``wake``, until ``drain``."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.fd = self._reader.fileno()

    def wake(self) -> None:
        """Make it ready. From any thread."""
        with contextlib.suppress(OSError):  # it is full, so ready already; or it has been closed
            self._writer.send(b"\1")

    def drain(self) -> None:
        """Make it not ready. What asked for it is to be looked at after that."""
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(4096)

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()

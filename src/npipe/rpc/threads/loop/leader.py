"""Event loop of a server with threads, in the leader/follower pattern.

One thread, the leader, waits for events of all connections. It reads, runs the called plain
functions and writes their replies, so that a call costs no thread switch and a connection needs no
thread. When a call takes longer than ``PATIENCE`` seconds, the monitor makes another thread the
leader, and the method is marked as slow: its next calls run in the thread pool.

Thread rules:

* Only the leader (``_leader`` is its token) polls, reads, feeds the framing of any connection and
  runs timers. When the call that it runs has ended, it checks under ``_lock`` whether it is still
  the leader; if not, it does none of these again.
* ``_lock`` guards ``_leader``, ``_running`` and ``progress``: a call either ends or is taken from
  the leader, never both. ``progress`` is odd while the leader runs a call.
* Any thread may add to ``_todo`` (connections with calls that may begin, and jobs) and to the heap
  of deadlines. It wakes the leader afterwards.

A connection whose last read filled the buffer with messages is heavy: it calls without a pause. Of
these the leader reads one after each wait, in turn, and only after all others, and one more for
every ``LIGHT_EACH`` others, which take as long. So a call of another connection waits for one read
of a heavy connection, however many there are, and busy connections do not starve heavy ones.

A few connections are read before the replies to the first are written: each write may cause a
switch to the client's thread, and one switch for several replies costs less than one for each.

The leader is woken by an event of a connection, the next deadline, or ``wake``. Events are
level-triggered: one that is not handled when the leader changes is reported again.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Protocol

from npipe.rpc.threads.loop.poller import Poller
from npipe.rpc.threads.loop.pollers import make_poller
from npipe.rpc.threads.loop.pool import ThreadPool
from npipe.rpc.threads.loop.spin_wait import SpinWait
from npipe.rpc.threads.slow_calls import SlowCallMonitor
from npipe.rpc.threads.spin_read import cores
from npipe.rpc.threads.waiter import Wakeup

if TYPE_CHECKING:
    from npipe.rpc.service.method import Method
    from npipe.rpc.session.session import Session
    from npipe.transport.base import Connection

__all__ = ["ServerLoop"]

log: logging.Logger = logging.getLogger("npipe.rpc")

SPIN_SECONDS = 50e-6  # duration of a poll: about the time to wake a sleeping thread
TOGETHER = 8  # connections that are read before the replies to the first are written
FEW_DEADLINES = 100
LIGHT_EACH = 16  # events of other connections for each further read of a heavy one
STOP_SECONDS = 0.1  # between two checks whether the loop has stopped

Token = object
"""Identifies a leader; compared by identity."""


class Runnable(Protocol):
    """The attributes and methods of a served call that the loop uses."""

    @property
    def method(self) -> Method: ...
    def run(self) -> None: ...


class Task(Protocol):
    """Work for the leader."""

    def pump(self, token: Token) -> bool:
        """Begin the calls that may begin. Return False if another thread has become the leader."""


class Driver(Task, Protocol):
    """The attributes and methods of a driver that the loop uses."""

    @property
    def fd(self) -> int: ...
    @property
    def heavy(self) -> bool: ...
    @property
    def session(self) -> Session: ...

    def on_event(self, event: int) -> bool:
        """Read or write. Return whether to call ``pump``."""

    def on_timer(self, now: float) -> None:
        """Enforce the time limits."""


class FunctionTask:
    """A function that the leader calls between the events of connections."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.ended: Wakeup = Wakeup()
        self._function = function

    def pump(self, token: Token) -> bool:
        """Call the function, which must not block."""
        try:
            self._function()
        except BaseException:  # the loop continues
            log.exception("a job of the loop failed")
        self.ended.set()
        return True


class ServerLoop:
    """Serves any number of connections. Its methods may be called from any thread."""

    def __init__(self, pool: ThreadPool, monitor: SlowCallMonitor) -> None:
        """Make a loop; it does nothing before ``start``.

        Args:
            pool: Provides the threads of the leaders.
            monitor: Calls ``look`` while a call runs.
        """
        self.progress: int = 0  # odd: the leader runs a call
        self._pool = pool
        self._monitor = monitor
        self._lock = threading.Lock()
        self._leader: Token = None
        self._leader_id = 0  # identifier of its thread
        self._running: tuple[Driver, Runnable] | None = None
        self._seen = 0  # ``progress`` at the monitor's last check
        self._drivers: dict[int, Driver] = {}
        self._todo: deque[Task] = deque()
        self._deadlines: list[tuple[float, int, Driver]] = []
        self._most_deadlines = FEW_DEADLINES  # when more, those of closed connections are removed
        self._deadline_lock = threading.Lock()
        self._numbers = count()
        self._poller: Poller | None = None
        self._stopped = False
        # On a single core a polling thread keeps the peer from running.
        self._spin = SpinWait(SPIN_SECONDS) if cores() > 1 else None

    # Start and stop

    def start(self) -> None:
        """Start to wait for connections. Idempotent.

        Raises:
            RuntimeError: No thread can be started.
            OSError: No file descriptor is left.
        """
        with self._lock:
            if self._poller is not None or self._stopped:
                return
            self._poller = poller = make_poller()
            self._leader = token = object()
            try:
                self._monitor.add(self)
                self._pool.start_now(partial(self._lead, token, None))
            except RuntimeError:
                self._monitor.discard(self)
                self._leader = self._poller = None
                poller.close()
                raise

    def stop(self) -> None:
        """Stop polling. The connections must have been closed. Idempotent."""
        self._stopped = True
        self.wake()

    # Called by drivers

    def attach(self, connection: Connection) -> bool:
        """Have the loop, which has been started, take a connection.

        Returns:
            False if it cannot: the connection needs threads of its own.
        """
        return self._poller is not None and self._poller.attach(connection)

    def add(self, driver: Driver) -> None:
        """Register a connection."""
        self.start()
        self._drivers[driver.fd] = driver

    def remove(self, driver: Driver) -> None:
        """Unregister a connection. Call it before its descriptor is closed."""
        if self._drivers.get(driver.fd) is driver:
            del self._drivers[driver.fd]

    def change(self, fd: int, before: int, now: int) -> None:
        """Wait for other events of a connection; see ``Poller.change``."""
        if self._poller is not None:
            self._poller.change(fd, before, now)

    def request(self, task: Task) -> None:
        """Have the leader begin the calls of a connection that may begin now, or run a job."""
        self._todo.append(task)
        self.wake()

    def run(self, function: Callable[[], object]) -> None:
        """Call a function in the leader's thread, and wait until it has ended or the loop stops.

        Two busy threads of one interpreter pass its lock to each other at each system call, which
        takes several times as long as the work in between.

        Args:
            function: Must not block.
        """
        job = FunctionTask(function)
        self.request(job)
        while not (job.ended.wait(STOP_SECONDS) or self._stopped):
            pass

    def schedule(self, driver: Driver, when: float) -> None:
        """Have ``driver.on_timer`` called.

        Args:
            driver: The driver.
            when: The earliest time, by ``time.monotonic()``.
        """
        with self._deadline_lock:
            heapq.heappush(self._deadlines, (when, next(self._numbers), driver))
            if len(self._deadlines) > self._most_deadlines:
                self._forget_closed()
        self.wake()

    def _forget_closed(self) -> None:
        """Remove the deadlines of closed connections, which may be hours away.

        The new list is stored at once: the leader looks at the first deadline without the lock.
        """
        drivers = self._drivers
        deadlines = [each for each in self._deadlines if drivers.get(each[2].fd) is each[2]]
        heapq.heapify(deadlines)
        self._deadlines = deadlines
        self._most_deadlines = max(FEW_DEADLINES, 2 * len(deadlines))

    def wake(self) -> None:
        """Wake the leader. Does nothing in the leader's own thread."""
        poller = self._poller
        if poller is not None and threading.get_ident() != self._leader_id:
            poller.wake()

    def run_here(self, driver: Driver, call: Runnable, token: Token) -> bool:
        """Run a call in the leader's thread.

        Returns:
            False if it took so long that another thread has become the leader.
        """
        self._running = driver, call
        self.progress += 1
        monitor = self._monitor
        if not monitor.awake:
            monitor.wake()
        try:
            call.run()
        except BaseException:  # the call was answered, and the loop continues
            log.exception("connection %06d: a function failed", driver.session.connection_id)
        with self._lock:
            if self._leader is not token:
                return False
            self._running = None
            self.progress += 1
            return True

    @property
    def is_led_here(self) -> bool:
        """True in the leader's thread outside a call: it must not wait for what it has to read."""
        return threading.get_ident() == self._leader_id and not self.progress & 1

    # Called by the monitor

    @property
    def busy(self) -> bool:
        """True while the leader runs a call, or calls wait for a thread."""
        return bool(self.progress & 1) or self._pool.waiting

    def look(self) -> None:
        """Make another thread the leader if the same call runs as at the last check."""
        progress = self.progress
        if progress & 1 and progress == self._seen:
            self._hand_over(progress)
        self._seen = progress
        self._pool.look()

    def _hand_over(self, progress: int) -> None:
        with self._lock:
            running, before, leader_id = self._running, self._leader, self._leader_id
            if progress != self.progress or running is None or self._stopped:
                return
            driver, call = running
            # All changes precede the start of the thread, which may run the next call at once.
            self._leader = token = object()
            self._leader_id = 0  # until the new leader has started
            self._running = None
            self.progress += 1
            call.method.slow = True
            try:
                self._pool.start_now(partial(self._lead, token, driver))
            except RuntimeError:  # no thread can be started: the others wait for this call
                self._leader, self._running, self._leader_id = before, running, leader_id
                self.progress += 1  # odd again

    # The leader

    def _lead(self, token: Token, first: Driver | None) -> None:
        """Serve until another thread becomes the leader.

        Args:
            token: Identifies this leader.
            first: The connection whose call was running when the leader changed; its further
                messages are processed first.
        """
        self._leader_id = threading.get_ident()
        if first is not None and not first.pump(token):
            return
        todo, drivers, poller = self._todo, self._drivers, self._poller
        assert poller is not None
        heavy: dict[int, int] = {}  # events of heavy connections, in the order of their turns
        while not self._stopped:
            if todo and not self._run_tasks(token):
                return
            asked, events = self._wait(poller)
            for fd, event in events:
                driver = drivers.get(fd)
                if driver is None:
                    poller.drain(fd)
                elif driver.heavy:
                    heavy[fd] = event
                elif driver.on_event(event):
                    todo.append(driver)
                    if len(todo) >= TOGETHER and not self._run_tasks(token):
                        return
            turns = 1 + max(0, len(events) - len(heavy)) // LIGHT_EACH
            while heavy and turns:
                turns -= 1
                fd = next(iter(heavy))
                event = heavy.pop(fd)
                driver = drivers.get(fd)  # None: it was closed meanwhile
                if driver is not None and driver.on_event(event):
                    todo.append(driver)
            if self._deadlines:
                self._run_timers(asked)
        poller.close()

    def _run_tasks(self, token: Token) -> bool:
        """Run the tasks. Return False if another thread has become the leader, for the others."""
        todo = self._todo
        left = len(todo)  # what is added meanwhile waits for the next round
        while left:
            if not todo.popleft().pump(token):
                return False
            left -= 1
        return True

    def _wait(self, poller: Poller) -> tuple[float, list[tuple[int, int]]]:
        """Wait for events. Return the time at which the wait began, and the events.

        A deadline before that time has really passed: data that had arrived in time would be among
        the events.
        """
        asked, timeout = 0.0, None
        deadlines = self._deadlines
        if deadlines:
            asked = time.monotonic()
            timeout = max(0.0, deadlines[0][0] - asked)
        if self._todo:
            timeout = 0.0
        if self._spin is not None and (events := self._spin.poll(poller, timeout)):
            return asked, events
        return asked, poller.wait(timeout)

    def _run_timers(self, asked: float) -> None:
        while True:
            with self._deadline_lock:
                if not self._deadlines or self._deadlines[0][0] > asked:
                    return
                _, _, driver = heapq.heappop(self._deadlines)
            driver.on_timer(asked)

"""Detection of slow calls, for all connections of a server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from npipe.rpc.session.atomic import snapshot
from npipe.rpc.threads.waiter import notify_all

__all__ = ["PATIENCE", "QUICK", "SlowCallMonitor", "start_thread"]

PATIENCE = 0.010  # seconds after which a call is slow; a thread switch takes a hundredth of it
QUICK = 0.001  # seconds; a slow method is no longer marked as slow after a shorter call
IDLE_ROUNDS = 100  # checks without a busy driver, after which the monitor sleeps


class Monitored(Protocol):
    """An object whose thread runs calls while other messages wait for it."""

    @property
    def busy(self) -> bool:
        """True while it has to be checked."""

    def look(self) -> object:
        """Check whether the same call runs as ``PATIENCE`` seconds ago, and act."""


class SlowCallMonitor:
    """Detects slow calls, with one thread for all connections, which sleeps while no call runs.

    Two rules ensure that no wake-up is lost:

    * a thread that begins a call first makes ``busy`` true, and then calls ``wake`` if ``awake`` is
      false;
    * the monitor first makes ``awake`` false, and then checks ``busy``. Until it sleeps it holds
      ``_changed``, which ``wake`` acquires.

    So either the thread sees that the monitor goes to sleep, and wakes it, or the monitor sees the
    call.
    """

    def __init__(self) -> None:
        self.awake: bool = False
        self.spin_lock: threading.Lock = threading.Lock()  # held by the one connection that polls
        self._running: set[Monitored] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def add(self, one: Monitored) -> None:
        """Check a driver from now on."""
        self._running.add(one)
        if not self.awake:
            self.wake()

    def discard(self, one: Monitored) -> None:
        """Stop checking a driver."""
        self._running.discard(one)

    def wake(self) -> None:
        """Wake the monitor. Call it if ``awake`` is false.

        Raises:
            RuntimeError: Its thread cannot be started; the next call tries again.
        """
        with self._changed:
            if self._thread is None and not self._stopped:
                self._thread = start_thread(self._run, "npipe-monitor")
            self.awake = True
            self._changed.notify()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            notify_all(self._changed)

    def _run(self) -> None:
        idle = 0
        while not self._stopped:
            time.sleep(PATIENCE)
            busy = [one for one in snapshot(self._running) if one.busy]
            for one in busy:
                one.look()
            idle = 0 if busy else idle + 1
            if idle > IDLE_ROUNDS:
                self._sleep()

    def _sleep(self) -> None:
        """Wait for ``wake``, unless a driver is busy."""
        with self._changed:
            self.awake = False
            if not (self._stopped or any(one.busy for one in snapshot(self._running))):
                self._changed.wait()
            self.awake = True


def start_thread(target: Callable[..., Any], name: str, *args: Any) -> threading.Thread:
    """Start a daemon thread."""
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread

"""Calls that take long, and limits on how many run at a time: shared by all connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from npipe.rpc.service.api import Method

__all__ = ["PATIENCE", "ConcurrencyLimits", "SlowCallMonitor", "start_thread"]

PATIENCE = 0.010  # seconds; a switch of threads costs a hundredth of it


IDLE_ROUNDS = 100  # looks in vain, after which the monitor sleeps


class Monitored(Protocol):
    """Something that runs calls in a thread that others wait for."""

    @property
    def busy(self) -> bool:
        """True while it has to be looked at."""

    def look(self) -> object:
        """Find out whether the same call runs as at the last look, ``PATIENCE`` ago, and act."""


class SlowCallMonitor:
    """Finds the calls that take long. One thread for all connections; asleep while nothing runs.

    Two rules lose no wake-up:

    * a thread that begins a call makes ``busy`` true first, and calls ``wake`` then if ``awake`` is
      false;
    * the monitor makes ``awake`` false first, and looks at ``busy`` then. From the one to the
      moment at which it sleeps it holds ``_changed``, which ``wake`` needs.

    So either the thread sees that the monitor goes to sleep, and wakes it, or the monitor sees the
    call.
    """

    def __init__(self) -> None:
        self.awake = False
        self.looking = threading.Lock()  # held by the one connection that polls
        self._running: set[Monitored] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def add(self, one: Monitored) -> None:
        """Look at a driver from now on."""
        self._running.add(one)
        if not self.awake:
            self.wake()

    def discard(self, one: Monitored) -> None:
        """Look at a driver no more."""
        self._running.discard(one)

    def wake(self) -> None:
        """Look at everything from now on. Call it where ``awake`` is false."""
        with self._changed:
            self.awake = True
            if self._thread is None and not self._stopped:
                self._thread = start_thread(self._run, "npipe-monitor")
            self._changed.notify()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _run(self) -> None:
        idle = 0
        while not self._stopped:
            time.sleep(PATIENCE)
            busy = [one for one in tuple(self._running) if one.busy]
            for one in busy:
                one.look()
            idle = 0 if busy else idle + 1
            if idle > IDLE_ROUNDS:
                self._sleep()

    def _sleep(self) -> None:
        """Wait for ``wake``, unless something is busy."""
        with self._changed:
            self.awake = False
            if not (self._stopped or any(one.busy for one in tuple(self._running))):
                self._changed.wait()
            self.awake = True


class ConcurrencyLimits:
    """Keeps ``@rpc.method(concurrency=n)``: over all links, at most n calls of a method run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._concurrency: dict[str, threading.Semaphore] = {}

    def of(self, method: Method) -> threading.Semaphore:
        """Return what a call of the method has to hold while it runs."""
        with self._lock:
            gate = self._concurrency.get(method.name)
            if gate is None:
                gate = threading.Semaphore(method.options.concurrency or 1)
                self._concurrency[method.name] = gate
            return gate


def start_thread(target: Callable[..., Any], name: str, *args: Any) -> threading.Thread:
    """Start a thread that does not keep the program alive."""
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread

"""What the links of one server or client share: who takes long, and how many may run at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from npipe.rpc.service.api import Method

__all__ = ["PATIENCE", "ConcurrencyLimits", "SlowCallMonitor", "start_thread"]

PATIENCE = 0.010  # seconds; a switch of threads costs a hundredth of it


class MonitoredDriver(Protocol):
    """A link, as the watch sees it."""

    progress: int

    def take_over(self, progress: int) -> None: ...


class SlowCallMonitor:
    """Finds the calls that take long. One thread for all links of a server; asleep while idle."""

    def __init__(self) -> None:
        self.busy: set[MonitoredDriver] = set()  # links that run a call in their reading thread
        self.awake = False
        self.looking = threading.Lock()  # held by who looks for a message without sleeping
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def wake(self) -> None:
        """Look at ``busy`` from now on. Cheap enough to be called for any link that adds itself
        while ``awake`` is false."""
        with self._lock:
            self.awake = True
            if self._thread is None and not self._stopped:
                self._thread = start_thread(self._run, "npipe-watch")
        self._wake.set()

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        seen: dict[MonitoredDriver, int] = {}
        idle_rounds = 0
        while not self._stopped:
            time.sleep(PATIENCE)
            now = {link: link.progress for link in tuple(self.busy)}
            for link, progress in now.items():
                if seen.get(link) == progress:
                    link.take_over(progress)
            seen = now
            idle_rounds = 0 if now else idle_rounds + 1
            if idle_rounds > 100:  # a second without a call: sleep until the next
                self.awake = False
                self._wake.clear()
                if not self.busy:
                    self._wake.wait()
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

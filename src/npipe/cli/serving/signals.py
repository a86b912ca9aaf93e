"""Wait until a signal asks the process to end: Ctrl-C, SIGTERM, SIGHUP, or Ctrl-Break.

The first signal asks to end, a second one raises KeyboardInterrupt, and further ones are ignored
once the process has nothing left to do but to end: its exit status stays 0. SIGHUP is included,
because closing a terminal sends it, and the state of a server must be saved then too.

The wait is on a socket to which the signal handler writes. With a ``threading.Event``, a signal
that arrives while the event holds its own lock would block forever, and on Windows nothing
interrupts a wait for a lock.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["Stop"]


class Stop:
    """Handles the signals from its creation on. For the main thread, once."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        _handle(_nothing)

    def wait(self, save: Callable[[], object] = lambda: None) -> None:
        """Return when the first signal has arrived, also if that was before the call.

        From then on a signal raises KeyboardInterrupt.

        Args:
            save: Called before that. No signal interrupts it.
        """
        self._receiver.recv(1)
        try:
            save()
        finally:
            _handle(_interrupt)
            signal.set_wakeup_fd(-1)
            self._receiver.close()
            self._sender.close()

    def finish(self) -> None:
        """Ignore signals from now on, so that none interrupts the exit of the interpreter."""
        _handle(_nothing)


def _nothing(_number: int, _frame: object) -> None:
    """Do nothing: the signal has already written to the socket."""


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _handle(handler: Callable[[int, Any], None]) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name) and not _is_ignored(name):
            signal.signal(getattr(signal, name), handler)


def _is_ignored(name: str) -> bool:
    """Return whether nohup started this process: SIGHUP then stays ignored."""
    return name == "SIGHUP" and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN

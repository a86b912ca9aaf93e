"""Run until a signal asks the process to end: Ctrl-C, SIGTERM, SIGHUP, or Ctrl-Break.

The first signal asks to end; after ``release`` a second one raises KeyboardInterrupt. SIGHUP
counts, since a terminal that is closed sends it: what a server keeps in memory is saved then, too.

The waiting is done on a socket that the signal itself writes to. A ``threading.Event`` would do
until the signal comes in the moment in which the event holds its own lock: then setting it hangs
forever. And on Windows nothing interrupts a wait for a lock.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

__all__ = ["Stop"]


class Stop:
    """Takes the signals over from its creation on. For the main thread, once."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        _handle(_nothing)

    def wait(self) -> None:
        """Return when the first signal has come, or at once if it came before."""
        self._receiver.recv(1)

    def release(self) -> None:
        """Let the next signal raise KeyboardInterrupt; until then it is ignored."""
        _handle(_interrupt)
        signal.set_wakeup_fd(-1)
        self._receiver.close()
        self._sender.close()


def _nothing(_number: int, _frame: object) -> None:
    """What there is to do was done when the signal came."""


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _handle(handler: Callable[[int, Any], None]) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name) and not _is_ignored(name):
            signal.signal(getattr(signal, name), handler)


def _is_ignored(name: str) -> bool:
    """Tell whether nohup started this process: SIGHUP then stays ignored."""
    return name == "SIGHUP" and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN

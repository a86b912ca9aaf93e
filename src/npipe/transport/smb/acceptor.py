"""Accepts the connections of smbd in a thread, and reads smbd's message about each client."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

assert sys.platform != "win32"  # mypy then skips the rest on Windows

from npipe.security import peer_is_user
from npipe.transport.posix.peer import peer_of
from npipe.transport.smb import npa

__all__ = ["SambaAcceptor"]

PATIENCE: Final = 5.0  # seconds for smbd to send the identity of the client
PAUSE: Final = 0.1  # seconds to wait if there is no descriptor for another client

log: logging.Logger = logging.getLogger(__name__)


class SambaAcceptor:
    """Runs until ``close`` shuts down the listening socket, and then closes it.

    While ``wanted()`` is false no client is accepted. ``arrived`` is called in this thread with the
    socket of each client, which it then owns, and smbd's message.
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        wanted: Callable[[], bool],
        arrived: Callable[[socket.socket, bytes], None],
        name: str,
    ) -> None:
        self._listening = listening
        self._wanted = wanted
        self._arrived = arrived
        self._closed = False
        self._bell, self._ringer = socket.socketpair()
        self._ringer.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._messages: dict[socket.socket, tuple[bytearray, float]] = {}  # with their deadlines
        self._listens = False
        self._pause_until = 0.0
        threading.Thread(target=self._run, name=f"npipe-samba {name}", daemon=True).start()

    def wake(self) -> None:
        """Have ``wanted`` called again."""
        with contextlib.suppress(OSError):  # full: it is awake already; or it has ended
            self._ringer.send(b"\0")

    def close(self) -> None:
        """Stop accepting and end the thread, from any thread."""
        self._closed = True
        self.wake()

    def _run(self) -> None:
        try:
            while not self._closed:
                self._turn()
        finally:
            for sock in self._messages:
                sock.close()
            self._selector.close()
            self._listening.close()
            self._bell.close()
            self._ringer.close()

    def _turn(self) -> None:
        self._listen_or_not()
        for key, _ in self._selector.select(self._timeout()):
            if key.fileobj is self._bell:
                self._bell.recv(4096)
            elif key.fileobj is self._listening:
                self._accept()
            else:
                assert isinstance(key.fileobj, socket.socket)
                self._receive(key.fileobj)
        now = time.monotonic()
        for sock in [each for each, (_, due) in self._messages.items() if due <= now]:
            self._drop(sock, "smbd sent no identity of the client")

    def _listen_or_not(self) -> None:
        listens = self._wanted() and time.monotonic() >= self._pause_until
        if listens and not self._listens:
            self._selector.register(self._listening, selectors.EVENT_READ)
        elif self._listens and not listens:
            self._selector.unregister(self._listening)
        self._listens = listens

    def _timeout(self) -> float | None:
        dues = [due for _, due in self._messages.values()]
        if self._pause_until > time.monotonic():
            dues.append(self._pause_until)
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _accept(self) -> None:
        try:
            sock, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor or memory for another client
            log.warning("cannot accept a client of Samba: %s", error)
            self._pause_until = time.monotonic() + PAUSE
            return
        sock.setblocking(False)
        # Any other process could claim any identity. The user of this program may do so anyway.
        if not peer_is_user(peer_of(sock), os.geteuid()):
            log.error("refused a client that is not smbd: its uid is %s", peer_of(sock).uid)
            sock.close()
            return
        self._messages[sock] = bytearray(), time.monotonic() + PATIENCE
        self._selector.register(sock, selectors.EVENT_READ)

    def _receive(self, sock: socket.socket) -> None:
        """Read smbd's message and no byte after it, because those are the client's."""
        message, _ = self._messages[sock]
        try:
            part = sock.recv(_missing(message))
        except BlockingIOError:
            return
        except OSError as error:
            self._drop(sock, str(error))
            return
        message += part
        if not part:
            self._drop(sock, "smbd closed the connection")
        elif _missing(message) > npa.LONGEST:
            self._drop(sock, "a message longer than any of smbd")
        elif not _missing(message):
            self._hand_on(sock, bytes(message))

    def _hand_on(self, sock: socket.socket, message: bytes) -> None:
        del self._messages[sock]
        self._selector.unregister(sock)
        try:
            self._arrived(sock, message)
        except Exception:
            log.exception("a client of Samba was refused")
            sock.close()

    def _drop(self, sock: socket.socket, why: str) -> None:
        log.warning("refused a client of Samba: %s", why)
        del self._messages[sock]
        self._selector.unregister(sock)
        sock.close()


def _missing(message: bytearray) -> int:
    """Return the number of missing bytes: of the length field, or of the message."""
    if len(message) < 4:
        return 4 - len(message)
    return 4 + int.from_bytes(message[:4], "big") - len(message)

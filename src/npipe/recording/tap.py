"""Standing between the clients of a live Unix socket and its server, and leaving again.

A name always leads to a listening socket, so no client notices:

* To enter: the server's socket gets a second name, ``PATH.behind``, by a hard link. A listener is
  made at ``PATH.front`` and renamed over PATH, which is one step of the file system.
* To leave: the same with the server's socket. Clients that had reached the tap's listener by then
  are still accepted, and their connections go on through the tap until they end.

Connections from before the tap are not seen, and not touched. The server sees the tap's process as
the peer of what goes through it. After a crash ``PATH.behind`` is left over: the next tap puts it
back.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import threading
import time

assert sys.platform != "win32"  # mypy then skips the rest there

from npipe.address import Address, parse
from npipe.recording.relay import Relay
from npipe.transport.posix.listener import PosixListener, listen
from npipe.transport.posix.served import is_served

__all__ = ["Tap"]

# Seconds without a new client before the tap's listener is closed. A client may have looked up the
# name just before it changed hands, and connect only now: that is microseconds, unless the system
# lets another process run in between. Nothing tells when the last of these has connected.
QUIET = 0.2


class Tap:
    """Puts a relay in front of the server at ``path``. ``enter`` and ``leave`` it once each."""

    def __init__(self, path: str) -> None:
        """Check the address.

        Raises:
            ValueError: It is not the path of a Unix socket's file.
        """
        address = parse(path)
        if address.kind != "unix":
            raise ValueError(f"{address} has no file that could be renamed: use npipe relay")
        self.path = os.path.abspath(address.path)
        self.behind = f"{self.path}.behind"  # the server, while the tap is there
        self._front = f"{self.path}.front"
        self._listener: PosixListener | None = None
        self._made: tuple[int, int] | None = None  # device and inode of the tap's socket
        self._relay: Relay | None = None

    def enter(self, relay: Relay) -> None:
        """Take the server's name. ``relay`` must lead to ``behind``.

        Raises:
            OSError: There is no server, it is being tapped already, or the socket belongs to
                another user. Then nothing has changed.
        """
        self._recover()
        found = os.lstat(self.path)
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError(errno.ENOTSOCK, "it is not a socket", self.path)
        if not is_served(self.path):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody serves it", self.path)
        try:
            os.link(self.path, self.behind)
        except FileExistsError:
            raise _tapped_already(self.path) from None
        try:
            mode = stat.S_IMODE(found.st_mode)
            self._listener = listen(Address("unix", self._front), access=mode)
            if found.st_uid != os.geteuid() or found.st_gid != os.lstat(self._front).st_gid:
                os.chown(self._front, found.st_uid, found.st_gid)
            made = os.lstat(self._front)
            self._made = (made.st_dev, made.st_ino)
            os.rename(self._front, self.path)
        except BaseException:
            if self._listener is not None:
                self._listener.close()
            os.unlink(self.behind)
            raise
        self._relay = relay
        relay.serve(self._listener)

    def leave(self) -> bool:
        """Give the name back to the server; return when no new client will come.

        Connections that pass through the relay go on; ``Relay.wait`` waits for their end.

        Returns:
            False where the name had changed hands meanwhile, as when the server was started
            again: then it is left alone.
        """
        assert self._listener is not None and self._relay is not None
        ours = self._is_ours()
        if ours:
            os.link(self.behind, self._front)
            os.rename(self._front, self.path)
        left = time.monotonic()
        wait = threading.Event().wait
        while (rest := max(left, self._relay.last_accept) + QUIET - time.monotonic()) > 0 or (
            _has_clients(self._listener)
        ):
            wait(max(rest, 0.01))
        self._listener.close()
        os.unlink(self.behind)
        return ours

    def _is_ours(self) -> bool:
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:  # a server that ends may remove whatever has its name
            return False
        return (found.st_dev, found.st_ino) == self._made

    def _recover(self) -> None:
        """Undo what a tap left that was killed. Raises OSError where one is at work."""
        try:
            behind = os.lstat(self.behind)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(behind.st_mode):
            text = "a file that is no socket is in the way; it was left alone"
            raise FileExistsError(errno.EEXIST, text, self.behind)
        if not is_served(self.behind):
            os.unlink(self.behind)
        elif not is_served(self.path):
            os.rename(self.behind, self.path)
        elif os.path.samestat(os.lstat(self.path), behind):
            os.unlink(self.behind)
        else:
            raise _tapped_already(self.path)


def _has_clients(listener: PosixListener) -> bool:
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _tapped_already(path: str) -> OSError:
    return OSError(errno.EBUSY, "it is being tapped already", path)

"""Tap: insert a relay between the clients of a running Unix socket server and the server.

The path always refers to a listening socket, so no connection attempt fails:

* ``enter`` makes a hard link to the server's socket, ``PATH.behind``. It makes a listener at
  ``PATH.front`` and renames that over PATH, which is atomic.
* ``leave`` does the same with the server's socket. Clients that had connected to the tap's
  listener by then are still accepted, and their connections continue through the relay.

Connections made before ``enter`` are not recorded or changed. The server sees the tap's process as
the peer of relayed connections. A crash leaves ``PATH.behind``: the next tap restores it.
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

# Seconds without a new client before the tap's listener is closed. A client may have resolved the
# path just before the rename and connect after it: microseconds later, unless another process is
# scheduled in between. No event reports the last such client.
QUIET = 0.2


class Tap:
    """Inserts a relay in front of the server at ``path``. Call ``enter`` and ``leave`` once."""

    def __init__(self, path: str) -> None:
        """Check the address.

        Args:
            path: The path of the server's Unix socket.

        Raises:
            ValueError: The address is not the path of a Unix socket.
        """
        address = parse(path)
        if address.kind != "unix":
            raise ValueError(f"{address} has no file that could be renamed: use npipe relay")
        self.path: str = os.path.abspath(address.path)
        self.behind: str = f"{self.path}.behind"  # the server's socket between enter and leave
        self._front = f"{self.path}.front"
        self._listener: PosixListener | None = None
        self._made: tuple[int, int] | None = None  # device and inode of the tap's socket
        self._relay: Relay | None = None

    def enter(self, relay: Relay) -> None:
        """Replace the server's socket at the path.

        Args:
            relay: The relay; its target must be ``behind``.

        Raises:
            OSError: There is no server, it is being tapped already, or the socket belongs to
                another user. Nothing was changed.
        """
        self._recover()
        found = os.lstat(self.path)
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError(errno.ENOTSOCK, "it is not a socket", self.path)
        if not is_served(self.path):
            raise ConnectionRefusedError(errno.ECONNREFUSED, "no server listens here", self.path)
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
        """Restore the server's socket; return when the tap's listener can receive no new client.

        Connections through the relay continue; ``Relay.wait`` waits for their end.

        Returns:
            False if another socket was bound to the path meanwhile, for example because the server
            was restarted. That socket is left unchanged.
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
        except FileNotFoundError:  # a server that ends may unlink any socket at its path
            return False
        return (found.st_dev, found.st_ino) == self._made

    def _recover(self) -> None:
        """Remove the files of a tap that was killed. Raises OSError if a tap is running."""
        try:
            behind = os.lstat(self.behind)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(behind.st_mode):
            text = "a file that is not a socket exists here; remove it or choose another address"
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

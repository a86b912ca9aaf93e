"""Serving the clients of a Samba server with asyncio: transports for a ``SambaListener``."""

from __future__ import annotations

import sys

assert sys.platform != "win32"  # mypy then skips the file there

import asyncio
import contextlib
import socket
import threading
from asyncio import trsock
from collections.abc import Callable

from npipe.aio.posix import AcceptedSocket, introduce
from npipe.aio.server import AcceptedClient
from npipe.transport.smb.samba import SambaConnection, SambaListener, linger

__all__ = ["SambaAcceptor", "SambaListener"]


class SambaAcceptor:
    """Acceptor that waits for the clients of a listener in a thread and passes them to the loop."""

    def __init__(self, listener: SambaListener) -> None:
        """Take ownership of ``listener``; ``close`` closes it."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._arrived: Callable[[AcceptedClient], None] | None = None

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        return ()

    def start(self, arrived: Callable[[AcceptedClient], None]) -> None:
        self._arrived = arrived
        threading.Thread(target=self._accept, name="npipe-samba-accept", daemon=True).start()

    def close(self) -> None:
        self._arrived = None
        self._listener.close()

    def _accept(self) -> None:
        for connection in self._listener:
            try:
                self._loop.call_soon_threadsafe(self._admit, connection)
            except RuntimeError:  # the loop has been closed
                connection.close()

    def _admit(self, connection: SambaConnection) -> None:
        if self._arrived is None:
            connection.close()
            return
        self._arrived(SambaSocket.of(connection))


class SambaSocket(AcceptedSocket):
    """Socket of a client whose unread bytes stay readable for smbd after the transport closes."""

    __slots__ = ("_kept",)

    @classmethod
    def of(cls, connection: SambaConnection) -> SambaSocket:
        """Make the object from the socket of ``connection``, which this closes."""
        info = {
            "peer": connection.peer,
            "peername": connection.remote_address,
            "sockname": connection.local_address,
        }
        taken = connection.hand_over()
        client = cls(taken.family, taken.type, taken.proto, taken.detach())
        client.setblocking(False)
        client.info = info
        client.mode = "rw"
        client.on_close = None
        client.acceptor = None
        client._kept = None
        with contextlib.suppress(OSError):  # no free descriptor: the last bytes may be lost
            client._kept = socket.fromfd(client.fileno(), client.family, client.type)
        return client

    _kept: socket.socket | None

    async def open(self, protocol: asyncio.BaseProtocol) -> asyncio.BaseTransport:
        return (await introduce(self, protocol, self.info, half_close=False)).original

    def _tell(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            linger(kept)
        super()._tell()

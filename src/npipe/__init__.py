"""npipe: named pipes for Python, and JSON-RPC on top of them.

One API for Windows named pipes and Unix domain sockets. This is the face for threads::

    with npipe.listen("echo") as listener:          with npipe.connect("echo") as connection:
        for connection in listener:                     connection.write(b"hello")
            connection.write(connection.read(1024))     print(connection.read(1024))

The public packages and modules:

=====================  =====================================================================
``npipe``              connect and listen, with threads
``npipe.aio``          the same with asyncio, as streams and protocols
``npipe.rpc``          JSON-RPC 2.0: Server, Client, API; ``npipe.rpc.aio`` the same, awaitable
``npipe.address``      what may be written for an address
``npipe.errors``       what is raised
``npipe.security``     access, and the identity of the peer
``npipe.testing``      the conformance suite for connections, and an in-memory pair
=====================  =====================================================================

Importing this imports neither asyncio nor msgspec nor a backend.
"""

from __future__ import annotations

import sys

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport import connect, exists, list_pipes, listen
from npipe.transport.base import Connection, Listener
from npipe.transport.buffered import BufferedConnection
from npipe.transport.smb.options import Smb

TYPE_CHECKING = False  # importing typing would take as long as importing npipe
if TYPE_CHECKING:
    from typing import Any

    if sys.platform != "win32":
        from npipe.transport.smb.samba import SambaListener

__version__ = "0.1.0"

__all__ = [
    "Address",
    "BufferedConnection",
    "ClosedError",
    "Connection",
    "Listener",
    "PeerIdentity",
    "SambaListener",
    "Smb",
    "connect",
    "exists",
    "list_pipes",
    "listen",
]
if sys.platform == "win32":
    __all__.remove("SambaListener")


def __getattr__(name: str) -> Any:
    """Import at its first use what only some programs need, and Windows does not have."""
    if name == "SambaListener" and sys.platform != "win32":
        from npipe.transport.smb.samba import SambaListener

        return SambaListener
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

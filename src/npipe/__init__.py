"""npipe: named pipes for Python, and JSON-RPC on top of them.

One API for Windows named pipes and Unix domain sockets. This package is for threads::

    with npipe.listen("echo") as listener:
        for connection in listener:
            connection.write(connection.read(1024))

    with npipe.connect("echo") as connection:
        connection.write(b"hello")
        print(connection.read(1024))

The public packages and modules:

=======================  =====================================================================
``npipe``                connect and listen, with threads
``npipe.aio``            the same with asyncio, as streams and protocols
``npipe.rpc``            JSON-RPC 2.0: Server, Client, API; ``npipe.rpc.aio`` the same, awaitable
``npipe.address``        the forms of an address
``npipe.errors``         exceptions
``npipe.security``       access, and the identity of the peer
``npipe.recording``      recording of JSON-RPC messages, and their replay
``npipe.integrations``   pipes for other libraries, such as httpx and web3.py
``npipe.testing``        the conformance suite for connections, and an in-memory pair
=======================  =====================================================================

``import npipe`` imports neither asyncio nor msgspec nor a backend.
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
    """Import ``SambaListener`` on first use; few programs need it, and Windows does not have it."""
    if name == "SambaListener" and sys.platform != "win32":
        from npipe.transport.smb.samba import SambaListener

        return SambaListener
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

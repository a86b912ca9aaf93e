"""Where a client may connect to: a pipe's address, or a server in this process."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any, Protocol

import npipe.aio
from npipe.address import Address
from npipe.rpc.aio.link import Link

__all__ = ["Endpoint", "open_endpoint"]


class InProcess(Protocol):
    """A server in this process, on this loop."""

    def protocol(self) -> asyncio.Protocol: ...


Endpoint = str | Address | InProcess
"""An address, or a ``Server`` on this loop."""


async def open_endpoint(
    endpoint: Endpoint, make_link: Callable[[], Link], *, timeout: float | None, **options: Any
) -> Link:
    """Connect to an endpoint. ``options`` are those of ``npipe.connect``, for addresses only."""
    if isinstance(endpoint, str | Address):
        _, link = await npipe.aio.create_connection(make_link, endpoint, timeout=timeout, **options)
        return link
    ours, theirs = socket.socketpair()
    try:
        await _adopt(theirs, endpoint.protocol)
        adopted: Link = await _adopt(ours, make_link)
        return adopted
    except BaseException:
        ours.close()
        theirs.close()
        raise


async def _adopt(sock: socket.socket, make_protocol: Callable[[], Any]) -> Any:
    """Hand a connected socket to the loop."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    if sys.platform == "win32":
        _, protocol = await loop.create_connection(make_protocol, sock=sock)
    else:
        _, protocol = await loop.create_unix_connection(make_protocol, sock=sock)
    return protocol

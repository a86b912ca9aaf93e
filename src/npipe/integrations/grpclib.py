"""gRPC over a pipe, with grpclib. It is pure Python, and works on Windows, unlike grpcio's sockets.

    channel = Channel("containerd-containerd")

    async with Server([Echo()]) as server:
        await server.start("name")
        await server.wait_closed()

Generated stubs and services work as they are. A service finds its caller with ``peer(stream)``.

Extension points, which have an underscore: ``Channel._create_connection``,
``Server._protocol_factory`` and the attributes that ``Server.start`` sets, ``Peer._transport``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Unpack

from npipe import aio
from npipe.integrations import missing
from npipe.integrations.options import split

try:
    import grpclib.client
    import grpclib.server
except ModuleNotFoundError as _error:
    raise missing("grpclib", _error) from None

if TYPE_CHECKING:
    from npipe.address import Address
    from npipe.integrations.options import ListenOptions
    from npipe.security import PeerIdentity

__all__ = ["Channel", "Server", "peer"]


class Channel(grpclib.client.Channel):
    """A channel over a pipe, for generated stubs.

    Args:
        address: Address of the server.
        connect_timeout: Seconds for connecting; None means no limit.
        options: Options of ``npipe.connect`` and of ``grpclib.client.Channel``.

    Raises:
        OSError: Raised by a call, as by ``npipe.connect``.
    """

    def __init__(
        self, address: str | Address, *, connect_timeout: float | None = None, **options: Any
    ) -> None:
        ours, theirs = split(options)
        if theirs.get("ssl"):
            raise ValueError("TLS over a pipe is not supported: remove ssl=")
        super().__init__("localhost", **theirs)  # the :authority that the server sees
        self._address, self._timeout, self._options = address, connect_timeout, ours

    async def _create_connection(self) -> Any:
        _, protocol = await aio.create_connection(
            self._protocol_factory, self._address, connect_timeout=self._timeout, **self._options
        )
        return protocol


class Server(grpclib.server.Server):
    """A ``grpclib.server.Server`` that serves a pipe."""

    async def start(self, address: str | Address, **options: Unpack[ListenOptions]) -> None:
        """Serve ``address``, with the options of ``npipe.listen``. Raises OSError."""
        if getattr(self, "_server", None) is not None:
            raise RuntimeError("Server is already started")
        self._server = await aio.create_server(self._protocol_factory, address, **options)
        self._server_closed_fut = asyncio.get_running_loop().create_future()


def peer(stream: Any) -> PeerIdentity:
    """Return the identity of the caller of a service's method."""
    identity: PeerIdentity = stream.peer._transport.get_extra_info("peer")
    return identity

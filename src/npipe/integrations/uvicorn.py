"""An ASGI application on a pipe, served by uvicorn.

    Server("name", uvicorn.Config(app)).run()

The application finds its caller in ``scope["extensions"]["npipe"]["peer"]``, a ``PeerIdentity``,
with HTTP and with WebSocket. Unlike with uvicorn's ``uds=``, only the owner may connect, and a
socket in use is never taken over.

Extension point: ``uvicorn.Server.startup``. uvicorn gets no socket (``sockets=[]``), and the
pipe's server joins ``self.servers``, which ``uvicorn.Server.shutdown`` closes and waits for.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Unpack, cast

from npipe import aio
from npipe.integrations import missing

try:
    import uvicorn
except ModuleNotFoundError as _error:
    raise missing("uvicorn", _error) from None

if TYPE_CHECKING:
    from npipe.address import Address
    from npipe.integrations.options import ListenOptions

__all__ = ["Server"]

Message = dict[str, Any]
logger: logging.Logger = logging.getLogger("uvicorn.error")


class Server(uvicorn.Server):
    """A ``uvicorn.Server`` on a pipe.

    Args:
        address: Address to serve.
        config: uvicorn's configuration. Its host, port, uds and fd are not used.
        options: Options of ``npipe.listen``.

    Raises:
        ValueError: The configuration has TLS, or several processes.
        OSError: Raised by ``serve`` and ``run``, as by ``npipe.listen``, before the application
            is started.
    """

    def __init__(
        self, address: str | Address, config: uvicorn.Config, **options: Unpack[ListenOptions]
    ) -> None:
        if config.is_ssl:
            raise ValueError(
                "TLS over a pipe is not supported: remove ssl_keyfile and similar options"
            )
        if config.workers > 1 or config.should_reload:
            raise ValueError("one process serves a pipe: remove workers= and reload=")
        super().__init__(config)
        self._address, self._options = address, options

    async def startup(self, sockets: object = None) -> None:
        """Take the name, start the application, then accept clients."""
        pipe = await aio.create_server(
            lambda: _Introduction(self, pipe.address),
            self._address,
            start_serving=False,
            **self._options,
        )
        try:
            await super().startup(sockets=[])
            if self.started:
                await pipe.start_serving()
        except BaseException:
            pipe.close()
            raise
        if not self.started:  # the lifespan has failed: older releases return, newer ones exit
            pipe.close()
            return
        self.servers.append(pipe)
        logger.info("Uvicorn running on pipe %s (Press CTRL+C to quit)", pipe.address)


class _Introduction(asyncio.Protocol):
    """Replaces itself by uvicorn's protocol as soon as the peer is known.

    Both protocols of uvicorn take the application from their configuration, so each connection
    gets a copy of it whose application knows the peer.
    """

    def __init__(self, server: Server, address: Address) -> None:
        self._server, self._address = server, address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server, config = self._server, copy.copy(self._server.config)
        config.loaded_app = _WithPeer(
            config.loaded_app, transport.get_extra_info("peer"), str(self._address)
        )
        protocol = config.http_protocol_class(
            config=config, server_state=server.server_state, app_state=server.lifespan.state
        )
        cast(asyncio.Transport, transport).set_protocol(protocol)
        protocol.connection_made(transport)


class _WithPeer:
    """An ASGI application that adds the caller and the address to each scope."""

    def __init__(self, app: Callable[..., Awaitable[None]], peer: object, address: str) -> None:
        self._app, self._peer, self._address = app, peer, address

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        scope["extensions"] = {**scope.get("extensions", {}), "npipe": {"peer": self._peer}}
        scope["server"] = (self._address, None)  # as ASGI specifies for a Unix socket
        await self._app(scope, receive, send)

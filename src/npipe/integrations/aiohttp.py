"""aiohttp over a pipe, client and server.

    aiohttp.ClientSession(connector=Connector("name"))        await Site("name", runner).start()

A handler finds its caller in ``request.transport.get_extra_info("peer")``, a ``PeerIdentity``.

aiohttp's own ``NamedPipeConnector`` and ``NamedPipeSite`` exist on Windows only. They let every
user connect, also from other computers, and wait for a busy pipe without a limit.

Extension points: ``web.BaseSite``; and ``BaseConnector._create_connection`` with ``_factory``,
which all connectors of aiohttp use and which have no public name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from npipe import aio
from npipe.integrations import missing
from npipe.integrations.options import split

try:
    import aiohttp
    from aiohttp import web
except ModuleNotFoundError as _error:
    raise missing("aiohttp", _error) from None

if TYPE_CHECKING:
    from npipe.address import Address
    from npipe.integrations.options import ListenOptions

__all__ = ["Connector", "Site"]


class Connector(aiohttp.BaseConnector):
    """A connector for ``aiohttp.ClientSession`` to one pipe. The host of the URL is not used.

    Args:
        address: Address of the server.
        options: Options of ``npipe.connect`` and of ``aiohttp.BaseConnector``. The time for
            connecting is ``sock_connect`` of the session's ``aiohttp.ClientTimeout``.
    """

    # aiodocker uses the last two in its URLs.
    allowed_protocol_schema_set: frozenset[str] = (
        aiohttp.BaseConnector.allowed_protocol_schema_set | frozenset({"unix", "npipe"})
    )

    def __init__(self, address: str | Address, **options: Any) -> None:
        self._options, theirs = split(options)
        super().__init__(**theirs)
        self._address = address

    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> Any:
        if req.is_ssl():
            text = "TLS over a pipe is not supported: write http:// or ws://"
            raise aiohttp.InvalidUrlClientError(req.url, text)
        try:
            _, protocol = await aio.create_connection(
                self._factory, self._address, connect_timeout=timeout.sock_connect, **self._options
            )
        except TimeoutError as error:  # before OSError, of which it is a subclass
            raise aiohttp.ConnectionTimeoutError(f"{self._address}: {error}") from error
        except OSError as error:
            raise aiohttp.ClientConnectorError(req.connection_key, error) from error
        return protocol


class Site(web.BaseSite):
    """A site on a pipe, for a runner of aiohttp's.

    Args:
        address: Address to serve.
        runner: A runner on which ``setup()`` was awaited.
        options: Options of ``npipe.listen``.
    """

    def __init__(
        self, address: str | Address, runner: Any, **options: Unpack[ListenOptions]
    ) -> None:
        super().__init__(runner)
        self._address, self._options = address, options

    @property
    def name(self) -> str:
        return f"npipe:{self._address}"

    async def start(self) -> None:
        """Serve the address. Raises OSError, and then nothing has changed."""
        server = await aio.create_server(self._runner.server, self._address, **self._options)
        try:
            await super().start()
        except BaseException:
            server.close()
            raise
        self._server = server

"""HTTP over a pipe with httpx, for threads and for asyncio.

    client = httpx.Client(transport=Transport("name"), base_url="http://localhost")

The host of a URL becomes the Host header; the connection is always to the pipe. A response has
the server's identity: ``response.extensions["network_stream"].get_extra_info("peer")``.

The transports of httpx accept no network backend. These classes set ``_pool``, the only attribute
that its methods use, and do not call its ``__init__``, which would make a TLS context.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from npipe.integrations import missing
from npipe.integrations.httpcore import AsyncBackend, Backend

try:
    import httpcore
    import httpx
except ModuleNotFoundError as _error:
    raise missing("httpx", _error) from None

if TYPE_CHECKING:
    from npipe.address import Address
    from npipe.integrations.options import ConnectOptions

__all__ = ["AsyncTransport", "Transport"]

LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)  # httpx's own


class Transport(httpx.HTTPTransport):
    """A transport for ``httpx.Client``.

    Args:
        address: Address of the server.
        limits: Limits on the connection pool.
        http1: Whether HTTP/1.1 may be used.
        http2: Whether HTTP/2 may be used (needs the package h2).
        retries: Number of further attempts to connect after a failed one.
        options: Options of ``npipe.connect``; its timeout is the client's connect timeout.
    """

    def __init__(
        self,
        address: str | Address,
        *,
        limits: httpx.Limits = LIMITS,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        **options: Unpack[ConnectOptions],
    ) -> None:
        self._pool = httpcore.ConnectionPool(
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            network_backend=Backend(httpcore, address, options),
        )


class AsyncTransport(httpx.AsyncHTTPTransport):
    """A transport for ``httpx.AsyncClient`` on asyncio; arguments as for ``Transport``."""

    def __init__(
        self,
        address: str | Address,
        *,
        limits: httpx.Limits = LIMITS,
        http1: bool = True,
        http2: bool = False,
        retries: int = 0,
        **options: Unpack[ConnectOptions],
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=http1,
            http2=http2,
            retries=retries,
            network_backend=AsyncBackend(httpcore, address, options),
        )

"""HTTP over a pipe with requests and with urllib3.

    session.mount("http://docker/", Adapter("docker_engine"))      # requests
    Pool("docker_engine").request("GET", "/version")               # urllib3

With it docker-py and podman-py work on pipes without pywin32: see docs/integrations.md.

Extension points: ``HTTPConnection._new_conn`` and ``is_connected`` and ``ConnectionCls`` of
urllib3; ``HTTPAdapter.get_connection_with_tls_context`` of requests, which came with 2.32.2.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import urlsplit

from npipe.integrations import missing
from npipe.integrations.options import ConnectOptions, split
from npipe.integrations.socket import PipeSocket, create_connection

try:
    import urllib3.connection
    from requests.adapters import HTTPAdapter
    from requests.exceptions import InvalidSchema
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
except ModuleNotFoundError as _error:
    raise missing("requests", _error) from None

if TYPE_CHECKING:
    from collections.abc import Mapping

    from npipe.address import Address

__all__ = ["Adapter", "HTTPConnection", "Pool"]


class HTTPConnection(urllib3.connection.HTTPConnection):
    """A connection of urllib3 whose socket is a pipe. Made by ``Pool``."""

    def __init__(
        self, *args: Any, address: str | Address, pipe_options: ConnectOptions, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._address, self._pipe_options = address, pipe_options

    def _new_conn(self) -> PipeSocket:
        try:
            return create_connection(self._address, self.timeout, **self._pipe_options)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{self._address}: {error}") from error
        except OSError as error:
            raise NewConnectionError(self, f"{self._address}: {error}") from error

    @property
    def is_connected(self) -> bool:
        """Tell whether the server is still connected. urllib3's own method uses ``select``."""
        return self.sock is not None and not self.sock.connection.has_gone()


class Pool(urllib3.HTTPConnectionPool):
    """A pool of urllib3 whose connections are pipes.

    Args:
        address: Address of the server.
        host: Host for the Host header.
        options: Options of ``npipe.connect`` and of ``urllib3.HTTPConnectionPool``.
    """

    ConnectionCls = HTTPConnection

    def __init__(self, address: str | Address, host: str = "localhost", **options: Any) -> None:
        ours, theirs = split(options)
        super().__init__(host, address=address, pipe_options=ours, **theirs)


class Adapter(HTTPAdapter):
    """An adapter to ``mount`` on a ``requests.Session``. Proxies are never used.

    Args:
        address: Address of the server.
        max_retries: As for ``requests.adapters.HTTPAdapter``.
        pool_maxsize: The largest number of idle connections to keep.
        pool_block: Whether a request waits while that many are in use.
        options: Options of ``npipe.connect``; its timeout is that of the request.
    """

    def __init__(
        self,
        address: str | Address,
        *,
        max_retries: Any = 0,
        pool_maxsize: int = 10,
        pool_block: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> None:
        self._address = address
        self._options = {**options, "maxsize": pool_maxsize, "block": pool_block}
        self._lock = threading.Lock()
        self._pools: dict[tuple[str, int | None], Pool] = {}  # by the Host header
        super().__init__(max_retries=max_retries)

    def get_connection_with_tls_context(
        self,
        request: Any,
        verify: object,
        proxies: Mapping[str, str] | None = None,
        cert: object = None,
    ) -> Pool:
        url = urlsplit(request.url)
        if url.scheme != "http":
            raise InvalidSchema(f"{url.scheme}: TLS over a pipe is not supported: write http://")
        host, port = url.hostname or "localhost", url.port
        with self._lock:
            if (host, port) not in self._pools:
                self._pools[host, port] = Pool(self._address, host, port=port, **self._options)
            return self._pools[host, port]

    def request_url(self, request: Any, proxies: object) -> str:
        return str(request.path_url)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        super().close()

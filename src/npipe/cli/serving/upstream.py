"""What ``npipe serve --upstream`` stands in front of: a pipe, or a node's HTTP or WebSocket.

For the last two, an object that looks like a server in this process: ``rpc.Proxy`` gives it one
connection for each client, and it carries the messages on. Messages stay the bytes they are.
"""

from __future__ import annotations

import http.client
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from npipe.cli.common import LoadError
from npipe.rpc.wire import framing
from npipe.transport.base import Connection

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["Upstream", "describe", "open_upstream"]

AT_ONCE: Final = 8  # HTTP requests in flight for one client
TIMEOUT: Final = 60.0  # seconds for one HTTP exchange, and for opening a WebSocket
MAX_BYTES: Final = 32 << 20  # of one message, as in rpc.Limits


class Upstream(Protocol):
    """A server in this process, as ``rpc.Proxy`` wants it."""

    def check(self) -> None:
        """Raise OSError if it cannot be reached."""

    def serve_connection(self, connection: Connection) -> None:
        """Serve one client; return at once."""


def open_upstream(text: str) -> str | Upstream:
    """Return what ``text`` names: an http or ws URL, or else the address of a pipe."""
    url = urlsplit(text)
    if url.scheme in ("http", "https") and url.hostname:
        return Http(url)
    if url.scheme in ("ws", "wss") and url.hostname:
        try:
            import websockets.sync.client  # noqa: F401
        except ModuleNotFoundError:
            raise LoadError('a WebSocket needs: pip install "npipe[upstream]"') from None
        return WebSocket(text)
    return text


def describe(text: str) -> str:
    """Return ``text`` without what may be a key: the user, the path and the query of a URL."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https", "ws", "wss") or not url.hostname:
        return text
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.hostname}{port}" + ("/..." if url.path.strip("/") else "")


class Http:
    """A node's HTTP endpoint. Each message is a POST, several at once."""

    def __init__(self, url: SplitResult) -> None:
        self._url = url
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._headers = {"Content-Type": "application/json"}
        if url.username is not None:
            user = f"{unquote(url.username)}:{unquote(url.password or '')}"
            self._headers["Authorization"] = "Basic " + b64encode(user.encode()).decode()

    def check(self) -> None:
        """Raise OSError if it cannot be reached."""
        connection = self._connect()
        connection.connect()
        connection.close()

    def serve_connection(self, connection: Connection) -> None:
        """Serve one client in threads of its own."""
        _start(self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        kept = threading.local()  # each worker keeps its own HTTP connection alive
        with connection, ThreadPoolExecutor(AT_ONCE) as workers:
            for message in _messages(connection):
                workers.submit(self._exchange, connection, message, kept)

    def _exchange(self, connection: Connection, message: bytes, kept: threading.local) -> None:
        try:
            reply = self._post(message, kept)
        except (OSError, http.client.HTTPException) as error:
            reply = _error(message, f"upstream: {str(error) or type(error).__name__}")
        try:
            if reply:
                connection.write(reply.replace(b"\n", b" ") + b"\n")
        except OSError:  # the client has gone; its reader sees that too
            pass

    def _post(self, message: bytes, kept: threading.local) -> bytes:
        again = hasattr(kept, "http")
        if not again:
            kept.http = self._connect()
        try:
            kept.http.request("POST", self._path, message, self._headers)
            response = kept.http.getresponse()
        except (OSError, http.client.HTTPException):
            kept.http.close()
            del kept.http
            if not again:
                raise
            return self._post(message, kept)
        body: bytes = response.read(MAX_BYTES)
        if response.status != http.client.OK and not body.lstrip().startswith(b"{"):
            return _error(message, f"upstream: {response.status} {response.reason}")
        return body.strip()

    def _connect(self) -> http.client.HTTPConnection:
        tls = self._url.scheme == "https"
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        return kind(self._url.hostname or "", self._url.port, timeout=TIMEOUT)


class WebSocket:
    """A node's WebSocket endpoint: one for each client."""

    def __init__(self, url: str) -> None:
        self._url = url

    def check(self) -> None:
        """Raise OSError if it cannot be reached."""
        from websockets.exceptions import WebSocketException

        try:
            self._connect().close()
        except WebSocketException as error:
            raise OSError(str(error)) from error

    def serve_connection(self, connection: Connection) -> None:
        """Serve one client in threads of its own."""
        _start(self._serve, connection)

    def _connect(self) -> ClientConnection:
        from websockets.sync.client import connect

        return connect(self._url, open_timeout=TIMEOUT, max_size=MAX_BYTES)

    def _serve(self, connection: Connection) -> None:
        from websockets.exceptions import WebSocketException

        def receive() -> None:
            # A server may just hang up, as anvil does: then the client's connection ends, too.
            with connection, suppress(OSError, WebSocketException):
                for message in socket:
                    data = message.encode() if isinstance(message, str) else message
                    connection.write(data.replace(b"\n", b" ") + b"\n")

        with connection:
            try:
                with self._connect() as socket:
                    _start(receive)
                    for message in _messages(connection):
                        socket.send(message, text=True)
            except (OSError, WebSocketException):  # the client's connection is closed: it knows
                pass


def _messages(connection: Connection) -> Iterator[bytes]:
    """Yield what the proxy sends, until it closes."""
    reader = framing.make("json-stream", max_bytes=MAX_BYTES)
    try:
        while data := connection.read(65536):
            yield from reader.feed(data)
    except OSError:
        return


def _start(function: Callable[..., None], *args: object) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()


def _error(message: bytes, text: str) -> bytes:
    """Return the reply that ``message`` gets instead; nothing, for a notification."""
    id_ = msgspec.json.decode(message, type=dict[str, msgspec.Raw]).get("id")
    if id_ is None:
        return b""
    return msgspec.json.encode(
        {"jsonrpc": "2.0", "id": id_, "error": {"code": -32000, "message": text}}
    )

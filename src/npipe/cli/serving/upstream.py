"""The servers behind ``npipe serve --upstream``: a pipe, or the HTTP or WebSocket URL of a node.

For the last two, an object stands for a server in this process: ``rpc.Proxy`` opens a connection to
it for each client, and it forwards the messages unchanged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import UNSET

from npipe.cli.common import LoadError
from npipe.errors import RPCError
from npipe.rpc.limits import MAX_BYTES
from npipe.rpc.wire import framing, messages
from npipe.rpc.wire.envelopes import Message
from npipe.rpc.wire.json_text import error_reply
from npipe.transport.base import Connection
from npipe.transport.ssh import is_ssh, ssh_command

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool
    from websockets.sync.client import ClientConnection

__all__ = ["Upstream", "describe", "open_upstream"]

AT_ONCE: Final = 8  # HTTP requests in flight for one client
TIMEOUT: Final = 60.0  # seconds for one HTTP exchange, and for opening a WebSocket
READ_SIZE: Final = 65536  # bytes of a reply at a time
BROKERS: Final = ("nats", "tls")  # schemes whose URLs may hold a password or a token


class Upstream(Protocol):
    """A server in this process, as ``rpc.Proxy`` uses it."""

    def check(self) -> None:
        """Raise OSError if it cannot be reached."""

    def serve_connection(self, connection: Connection) -> None:
        """Serve one client; return at once."""


def open_upstream(text: str) -> str | list[str] | Upstream:
    """Return the endpoint of ``text``: an http, ws or ssh URL, or the address of a pipe.

    ``ssh://[user@]host[:port]/path`` is a Unix socket on another machine, by ``npipe cat`` there.
    """
    url = urlsplit(text)
    if is_ssh(text):
        return ssh_command(text)
    if url.scheme in ("http", "https") and url.hostname:
        try:
            import urllib3  # noqa: F401
        except ModuleNotFoundError:
            raise LoadError('an HTTP endpoint needs: pip install "npipe[upstream]"') from None
        return Http(text)
    if url.scheme in ("ws", "wss") and url.hostname:
        try:
            import websockets.sync.client  # noqa: F401
        except ModuleNotFoundError:
            raise LoadError('a WebSocket needs: pip install "npipe[upstream]"') from None
        return WebSocket(text)
    return text


def describe(text: str) -> str:
    """Return ``text`` without the parts of a URL that may be secret: user, path and query."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https", "ws", "wss") or not url.hostname:
        _, at, rest = url.netloc.rpartition("@")
        return f"{url.scheme}://{rest}{url.path}" if at and url.scheme in BROKERS else text
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.hostname}{port}" + ("/..." if url.path.strip("/") else "")


class Http:
    """The HTTP endpoint of a node. Each message is one POST, and several are in flight at once.

    A POST is never repeated: when its connection is lost, the node may have executed it. urllib3
    keeps the connections, and checks before each use whether the node has closed it.
    """

    def __init__(self, text: str) -> None:
        from urllib3.util import make_headers

        url = urlsplit(text)
        self._origin = text
        self._path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._headers = {"Content-Type": "application/json"}
        if url.username is not None:
            user = f"{unquote(url.username)}:{unquote(url.password or '')}"
            self._headers |= make_headers(basic_auth=user)

    def check(self) -> None:
        """Raise OSError if the endpoint cannot be reached."""
        from urllib3.exceptions import HTTPError

        with self._pool() as pool:
            try:
                pool.urlopen("HEAD", self._path, headers=self._headers, redirect=False)
            except HTTPError as error:
                raise OSError(_reason(error)) from error

    def serve_connection(self, connection: Connection) -> None:
        """Serve one client in threads of its own."""
        _start(self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        with connection, self._pool() as pool, ThreadPoolExecutor(AT_ONCE) as workers:
            for message in _messages(connection):
                workers.submit(self._exchange, connection, message, pool)

    def _exchange(self, connection: Connection, message: bytes, pool: HTTPConnectionPool) -> None:
        from urllib3.exceptions import HTTPError, NewConnectionError

        try:
            reply = self._post(message, pool)
        except NewConnectionError as error:
            reply = _error(message, f"upstream: {_reason(error)}")
        except (OSError, HTTPError) as error:
            reply = _error(message, f"upstream: {_reason(error)}; it may have executed the call")
        with suppress(OSError):  # the client has disconnected; its reader sees that too
            if reply:
                connection.write(reply.replace(b"\n", b" ") + b"\n")

    def _post(self, message: bytes, pool: HTTPConnectionPool) -> bytes:
        """Send one message; return its reply, or b"" for a notification."""
        response = pool.urlopen(
            "POST",
            self._path,
            message,
            headers=self._headers,
            redirect=False,
            preload_content=False,
        )
        try:
            body = _read(response)
        except _TooLong:
            response.close()  # before it returns to the pool: the rest is not read
            return _error(message, f"upstream: the reply is longer than {MAX_BYTES} bytes")
        finally:
            response.release_conn()
        return _reply_to(message, body, f"{response.status} {response.reason or ''}".strip())

    def _pool(self) -> HTTPConnectionPool:
        """Return the pool of connections for one client; none is open yet."""
        from urllib3 import connection_from_url

        return connection_from_url(
            self._origin, maxsize=AT_ONCE, block=True, timeout=TIMEOUT, retries=False
        )


class _TooLong(Exception):
    """A body of more than ``MAX_BYTES``."""


def _read(response: BaseHTTPResponse) -> bytes:
    """Read a whole body.

    Raises _TooLong, TimeoutError, or an error of urllib3, also if the body ends early.
    """
    parts: list[bytes] = []
    size, end = 0, time.monotonic() + TIMEOUT
    for part in response.stream(READ_SIZE):
        size += len(part)
        if size > MAX_BYTES:
            raise _TooLong
        if time.monotonic() > end:
            raise TimeoutError(f"no complete reply within {TIMEOUT:.0f} seconds")
        parts.append(part)
    return b"".join(parts).strip()


def _reply_to(message: bytes, body: bytes, status: str) -> bytes:
    """Return ``body`` if it is the reply to ``message``, and otherwise an error reply.

    Without the error reply, the caller would wait for its timeout.
    """
    id_ = _id(message)
    if not id_:
        return b""
    reply = messages.parse(body) if body else None
    if isinstance(reply, Message) and reply.method is UNSET:
        if bytes(reply.id) == id_:
            return body
        if reply.error and bytes(reply.id) in (b"", b"null"):  # the node could not read the id
            return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (id_, reply.error)
    text = "not a JSON-RPC reply" if status.startswith("200") else status
    return _error(message, f"upstream: {text}")


def _reason(error: Exception) -> str:
    """Return the cause that urllib3 wraps, without the address of an object."""
    cause: BaseException = error
    while cause.__cause__ is not None or cause.__context__ is not None:
        cause = cause.__cause__ or cause.__context__ or cause
    return str(cause) or type(cause).__name__


class WebSocket:
    """The WebSocket endpoint of a node, with a connection for each client."""

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
            # Some servers, such as anvil, hang up without a close: end the client's connection.
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
            except (OSError, WebSocketException):  # the client's connection is closed anyway
                pass


def _messages(connection: Connection) -> Iterator[bytes]:
    """Yield the messages of the proxy until it closes the connection."""
    reader = framing.make("json-stream", max_bytes=MAX_BYTES)
    try:
        while data := connection.read(65536):
            yield from reader.feed(data)
    except OSError:
        return


def _start(function: Callable[..., None], *args: object) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()


def _id(message: bytes) -> bytes:
    """Return the id of a request as it was sent; b"" for a notification."""
    return bytes(msgspec.json.decode(message, type=dict[str, msgspec.Raw]).get("id", b""))


def _error(message: bytes, text: str) -> bytes:
    """Return the error reply to ``message``; b"" for a notification."""
    id_ = _id(message)
    return error_reply(id_, RPCError(text)) if id_ else b""

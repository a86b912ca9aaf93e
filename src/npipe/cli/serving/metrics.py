"""The counters of a server over HTTP, for Prometheus: ``npipe serve --metrics``.

On a TCP port any program of this machine can read them; on a pipe or Unix socket only those that
``--access`` admits. Both use HTTP/1.0: one connection, one response.
"""

from __future__ import annotations

import io
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import npipe
from npipe.errors import ClosedError
from npipe.rpc import prometheus
from npipe.transport.base import Connection, Listener

__all__ = ["serve_metrics", "split_port"]

TIMEOUT: Final = 10.0  # seconds for one request; a slower client is disconnected
AT_ONCE: Final = 16  # clients answered at the same time; further ones are disconnected

Stats = Callable[[], Mapping[str, Any]]


def split_port(text: str) -> tuple[str, int] | None:
    """Return host and port of ``HOST:PORT``, ``:PORT`` or ``[HOST]:PORT``; None for an address.

    The default host is 127.0.0.1. Raises ValueError for an invalid port.
    """
    host, colon, port = text.rpartition(":")
    if not (colon and port.isdecimal()) or "/" in host or "\\" in host:
        return None
    if int(port) > 65535:
        raise ValueError(f"bad address {text!r}: invalid port {port}")
    return host.strip("[]") or "127.0.0.1", int(port)


@contextmanager
def serve_metrics(at: str, stats: Stats, access: str | int = "owner") -> Iterator[str]:
    """Answer ``GET /metrics`` until the block ends.

    Args:
        at: A host and a port of ``split_port``, or an address of ``npipe.listen``.
        stats: Returns the argument of ``prometheus.render``.
        access: The users that may connect, if ``at`` is an address.

    Returns:
        A context manager, whose value is the URL or address of the metrics.

    Raises:
        OSError: The port or address is in use or not permitted.
        ValueError: ``at`` is neither a port nor an address.
    """
    port = split_port(at)
    if port is None:
        with npipe.listen(at, access=access) as listener:
            _start(_accept, listener, stats)
            yield str(listener.address)
        return
    with _Server(port, _handler(_Handler, stats)) as server:
        thread = _start(server.serve_forever, 0.1)
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers one request. ``stats`` is set in a subclass made for one server."""

    timeout = TIMEOUT
    stats: Stats
    server_version = "npipe"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a scrape."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404, "Only /metrics exists")
            return
        body = prometheus.render(type(self).stats())
        self.send_response(200)
        self.send_header("Content-Type", prometheus.CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: a scrape every few seconds is not worth a line."""


class _PipeHandler(_Handler):
    """The same handler over a connection of npipe."""

    def setup(self) -> None:
        self.request.set_deadline(time.monotonic() + TIMEOUT)
        self.rfile = io.BufferedReader(self.request)
        self.wfile = self.request

    def finish(self) -> None:
        with suppress(
            TimeoutError
        ):  # the client did not send its request, or read the response, in time
            self.rfile.close()  # flushes the connection and closes it


def _handler(kind: type[_Handler], stats: Stats) -> type[_Handler]:
    return type(kind.__name__, (kind,), {"stats": staticmethod(stats)})


class _Server(ThreadingHTTPServer):
    """An HTTP server without name lookups, which answers a limited number of clients at once."""

    daemon_threads = True
    # On Windows this option would let another program listen at the same port.
    allow_reuse_address = sys.platform != "win32"

    def __init__(self, port: tuple[str, int], handler: type[_Handler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in port[0] else socket.AF_INET
        self._free = threading.Semaphore(AT_ONCE)
        super().__init__(port, handler)

    @property
    def url(self) -> str:
        """The URL of the metrics."""
        host, port = self.server_address[:2]
        return f"http://{f'[{host!s}]' if ':' in str(host) else host!s}:{port}/metrics"

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's own looks up the name of the host
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of a client that disconnected; report any other, which is a bug."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _accept(listener: Listener[Connection], stats: Stats) -> None:
    free = threading.Semaphore(AT_ONCE)
    handler = _handler(_PipeHandler, stats)

    def serve(client: Connection) -> None:
        try:
            with client, suppress(OSError):
                handler(client, ("", 0), None)  # type: ignore[arg-type]
        finally:
            free.release()

    with suppress(ClosedError):
        while True:
            client = listener.accept()
            if free.acquire(blocking=False):
                _start(serve, client)
            else:
                client.close()


def _start(function: Callable[..., object], *args: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, name="npipe-metrics", daemon=True)
    thread.start()
    return thread

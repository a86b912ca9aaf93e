"""The look-alike of a socket, by the standard library's own users of sockets."""

from __future__ import annotations

import http.client
import io
import socket
import sys
import threading
import xmlrpc.client
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import npipe
from integrations.conftest import PATIENCE
from npipe.integrations.socket import PipeSocket, create_connection


@pytest.fixture
def pair(address: str) -> Iterator[tuple[PipeSocket, npipe.Connection]]:
    with (
        npipe.listen(address, message_mode=True) as listener,  # so that Windows can half-close
        create_connection(address, PATIENCE) as client,
        listener.accept(PATIENCE) as server,
    ):
        yield client, server


def test_bytes(pair: Any) -> None:
    client, server = pair
    assert client.send(b"one") == 3
    client.sendall(memoryview(b"two"))
    reader = io.BufferedReader(server)  # kept, because it closes the connection at its own end
    assert reader.read(6) == b"onetwo"
    server.write(b"answer")
    buffer = bytearray(b"......")
    assert client.recv_into(buffer, 2) == 2
    assert client.recv(100) == b"swer"
    assert buffer == b"an...."
    client.settimeout(0.01)
    for size in (0, 2):
        with pytest.raises(TimeoutError) as late:
            client.recv_into(buffer, size)
        buffer += b"no view is kept"
        assert late.value
    client.settimeout(None)
    server.close()
    assert client.recv(1) == b""


def test_a_timeout_is_for_each_call(pair: Any) -> None:
    client, server = pair
    client.settimeout(0.05)
    assert client.gettimeout() == client.timeout == 0.05
    for _ in range(2):
        with pytest.raises(socket.timeout):
            client.recv(1)
    server.write(b"x")
    client.settimeout(None)
    assert client.recv(1) == b"x"
    client.settimeout(0.05)
    with pytest.raises(socket.timeout):
        client.sendall(b"x" * 10_000_000)


@pytest.mark.parametrize("seconds", [0, 0.0, -1])
def test_non_blocking_is_refused(pair: Any, seconds: float) -> None:
    with pytest.raises(ValueError, match="non-blocking"):
        pair[0].settimeout(seconds)
    with pytest.raises(ValueError, match="non-blocking"):
        pair[0].setblocking(False)


def test_flags_are_refused(pair: Any) -> None:
    for call in (lambda: pair[0].recv(1, socket.MSG_PEEK), lambda: pair[0].send(b"", 1)):
        with pytest.raises(OSError, match="flags"):
            call()


def test_a_file_keeps_the_connection_after_close(pair: Any) -> None:
    client, server = pair
    with client.makefile("rb") as file:
        client.close()
        server.write(b"line\nrest")
        assert file.readline() == b"line\n"
        assert not client.connection.closed
    assert client.connection.closed


def test_files_of_every_kind(pair: Any) -> None:
    client, server = pair
    with client.makefile("rw", encoding="utf-8", newline="\n") as text:
        text.write("ü\n")
        text.flush()
        assert server.read(10) == "ü\n".encode()
        server.write(b"line\n")
        assert text.readline() == "line\n"
    with client.makefile("wb", buffering=0) as raw:
        assert raw.write(b"raw") == 3
        assert server.read(10) == b"raw"
        assert not raw.readable()
    for mode, buffering in (("x", None), ("r", 0)):
        with pytest.raises(ValueError):
            client.makefile(mode, buffering)


def test_shutdown_of_one_direction(pair: Any) -> None:
    client, server = pair
    client.shutdown(socket.SHUT_WR)
    assert server.read(1) == b""
    server.write(b"still")
    assert client.recv(5) == b"still"
    client.shutdown(socket.SHUT_RD)
    assert client.recv(1) == b""


def test_shutdown_wakes_a_reader(pair: Any) -> None:
    client, _ = pair
    got: list[bytes] = []
    thread = threading.Thread(target=lambda: got.append(client.recv(1)))
    thread.start()
    client.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE)
    assert got == [b""]
    client.close()
    with pytest.raises(OSError):
        client.recv(1)


def test_names(pair: Any, address: str) -> None:
    client, _ = pair
    assert client.getpeername() == address
    assert client.type == socket.SOCK_STREAM
    client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def test_fileno(pair: Any) -> None:
    client, _ = pair
    if sys.platform == "win32":
        with pytest.raises(io.UnsupportedOperation, match="select"):
            client.fileno()
        return
    assert client.fileno() == client.connection.fileno()
    client.close()
    assert client.fileno() == -1


def test_detach(pair: Any) -> None:
    client, server = pair
    address = client.connection.remote_address
    with npipe.Connection.adopt(client.detach(), address) as taken:
        taken.write(b"x")
        assert server.read(1) == b"x"
    client.close()
    with pytest.raises(OSError):
        client.recv(1)


def test_http_client(address: str, serve: Callable[..., Any]) -> None:
    with serve(address):
        connection = http.client.HTTPConnection("shop")
        connection.sock = create_connection(address, PATIENCE, wait=True)  # type: ignore[assignment]
        connection.request("POST", "/echo", b"x" * 300_000)
        assert connection.getresponse().read() == b"x" * 300_000
        connection.close()


def test_xmlrpc_client(address: str) -> None:
    class Transport(xmlrpc.client.Transport):
        def make_connection(self, host: Any) -> http.client.HTTPConnection:
            connection = http.client.HTTPConnection(host)
            connection.sock = create_connection(address, PATIENCE)  # type: ignore[assignment]
            self._connection = host, connection  # which is what its close() closes
            return connection

    def serve(listener: npipe.Listener[npipe.Connection]) -> None:
        with listener.accept(PATIENCE) as connection:
            request = connection.read(65536)
            while not request.endswith(b"</methodCall>\n"):
                request += connection.read(65536)
            answer = xmlrpc.client.dumps((42,), methodresponse=True).encode()
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n"
            connection.write(head % len(answer) + answer)
            connection.read(1)

    with npipe.listen(address) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        with xmlrpc.client.ServerProxy("http://pipe/", transport=Transport()) as proxy:
            assert proxy.answer() == 42
        server.join(PATIENCE)

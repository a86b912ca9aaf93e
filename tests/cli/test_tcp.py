"""A TCP port of this computer as a connection and a listener."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from npipe.cli import endpoints, tcp
from npipe.errors import ClosedError

Pair = tuple[tcp.TcpConnection, tcp.TcpConnection]


@pytest.fixture
def listener() -> Iterator[tcp.TcpListener]:
    with tcp.TcpListener("0") as made:
        yield made


@pytest.fixture
def pair(listener: tcp.TcpListener) -> Iterator[Pair]:
    with tcp.connect(str(listener.address)[4:], 10) as client, listener.accept(10) as server:
        yield client, server


def test_bytes_and_the_end(pair: Pair) -> None:
    client, server = pair
    assert client.write(b"hello") == 5
    buffer = bytearray(3)
    assert server.readinto(buffer) == 3
    assert bytes(buffer) + server.read(10) == b"hello"
    client.close_write()
    assert server.read() == b""
    server.write(b"still")
    server.close()
    assert client.read() == b"still"
    assert client.has_gone() in (False, True)


def test_close_wakes_a_read(pair: Pair) -> None:
    client, _ = pair
    errors: list[BaseException] = []

    def read() -> None:
        try:
            client.read(1)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    client.close()
    thread.join(30)
    assert [type(error) for error in errors] == [ClosedError]
    client.close()
    for call in (lambda: client.read(1), lambda: client.write(b"x"), client.has_gone):
        with pytest.raises(ClosedError):
            call()


def test_the_listener_is_on_loopback_alone(listener: tcp.TcpListener) -> None:
    assert str(listener.address).startswith("tcp:127.0.0.1:")
    with pytest.raises(TimeoutError):
        listener.accept(0.01)


def test_close_wakes_an_accept(listener: tcp.TcpListener) -> None:
    thread = threading.Thread(target=lambda: list(listener))
    thread.start()
    listener.close()
    thread.join(30)
    assert not thread.is_alive()
    with pytest.raises(ClosedError):
        listener.accept()


def test_a_port_that_is_taken(listener: tcp.TcpListener) -> None:
    with pytest.raises(OSError):
        tcp.TcpListener(str(listener.address)[4:])


def test_waiting_for_a_port(listener: tcp.TcpListener) -> None:
    port = str(listener.address)[4:]
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        endpoints.dial(f"tcp:{port}", timeout=10)
    with pytest.raises(ConnectionRefusedError):
        endpoints.dial(f"tcp:{port}", timeout=0.1, wait=True)
    made: list[tcp.TcpListener] = []
    timer = threading.Timer(0.1, lambda: made.append(tcp.TcpListener(port)))
    timer.start()
    with endpoints.dial(f"tcp:{port}", timeout=30, wait=True):
        pass
    timer.join()
    made[0].close()


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6(listener: tcp.TcpListener) -> None:
    assert tcp.parse("[::1]:80") == ("::1", 80)

"""The transport of a handshake: its deadline, its limit, and what ends a wait."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from npipe.transport.smb.socket_transport import FRAME_LIMIT, SocketTransport


@pytest.fixture
def ends() -> Iterator[tuple[SocketTransport, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        transport = SocketTransport(time.monotonic() + 60)
        transport.open("127.0.0.1", server.getsockname()[1])
        other, _ = server.accept()
        with other:
            yield transport, other
        transport.abort()
        transport.release()


def test_messages_have_their_length_before_them(ends):
    transport, other = ends
    transport.send(b"abc")
    assert other.recv(100) == b"\0\0\0\3abc"
    other.sendall(b"\0\0\0\2hi\0\0\0\1!")
    assert (transport.recv(0), transport.recv(0)) == (b"hi", b"!")


def test_a_message_longer_than_any_of_a_handshake_ends_the_connection(ends):
    transport, other = ends
    other.sendall((FRAME_LIMIT + 1).to_bytes(4, "big"))
    assert transport.recv(0) == b""
    assert not transport.connected
    assert transport.broken == f"a message of {FRAME_LIMIT + 1} bytes in the handshake"


def test_abort_ends_a_wait_of_another_thread(ends):
    transport, _ = ends
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(transport.recv(0)))
    reader.start()
    transport.abort()
    reader.join(30)
    assert received == [b""]


def test_the_socket_that_is_handed_over_stays_open(ends):
    transport, other = ends
    with transport.hand_over() as taken:
        transport.release()
        taken.sendall(b"x")
        assert other.recv(1) == b"x"
    with pytest.raises(TimeoutError):  # it can be handed over once
        transport.hand_over()


def test_nothing_is_waited_for_after_the_deadline():
    transport = SocketTransport(time.monotonic() - 1)
    with pytest.raises(TimeoutError, match="the deadline passed"):
        transport.open("127.0.0.1", 1)

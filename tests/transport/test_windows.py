"""The Windows backend on a real kernel: Windows, or Wine. Each B number is a bug of the seed."""

from __future__ import annotations

import errno
import sys
import threading
import time
import uuid
from collections.abc import Iterator

import pytest

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport import windows
from npipe.transport.windows_connection import WindowsConnection
from npipe.transport.windows_listener import WindowsListener

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


@pytest.fixture
def address() -> Address:
    return Address("pipe", rf"\\.\pipe\npipe-test-{uuid.uuid4()}")


@pytest.fixture
def listener(address: Address) -> Iterator[WindowsListener]:
    with windows.listen(address) as listener:
        yield listener


@pytest.fixture
def pair(listener: WindowsListener) -> Iterator[tuple[WindowsConnection, WindowsConnection]]:
    with windows.connect(listener.address) as client, listener.accept(5) as server:
        yield client, server


Pair = tuple[WindowsConnection, WindowsConnection]


def test_bytes_go_both_ways_and_end(pair: Pair) -> None:
    client, server = pair
    assert client.write(b"hello") == 5
    assert server.read(100) == b"hello"
    assert server.write(bytearray(b"world")) == 5
    assert client.read(3) == b"wor"
    assert client.read(100) == b"ld"
    server.close()
    assert client.read(1) == b""


def test_no_server(address: Address) -> None:
    with pytest.raises(FileNotFoundError):
        windows.connect(address)
    with pytest.raises(TimeoutError):
        windows.connect(address, wait=True, timeout=0.05)


def test_second_listener(listener: WindowsListener) -> None:
    with pytest.raises(OSError) as caught:
        windows.listen(listener.address)
    assert caught.value.errno == errno.EADDRINUSE


def test_read_deadline(pair: Pair) -> None:
    client, server = pair
    client.set_read_deadline(time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):
        client.read(1)
    client.set_read_deadline(None)
    server.write(b"later")
    assert client.read(10) == b"later"


def test_close_wakes_a_read(pair: Pair) -> None:
    client, _ = pair
    closer = threading.Timer(0.05, client.close)
    closer.start()
    with pytest.raises(ClosedError):
        client.read(1)
    closer.join()


def test_close_wakes_an_accept(listener: WindowsListener) -> None:
    closer = threading.Timer(0.05, listener.close)
    closer.start()
    with pytest.raises(ClosedError):
        listener.accept()
    closer.join()

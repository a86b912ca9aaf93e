"""npipe.transport.posix.adopted: sockets of other code."""

from __future__ import annotations

import io
import os
import socket
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.address import Address

NOWHERE = Address("unix", "/nowhere")


def test_adopt() -> None:
    mine, theirs = socket.socketpair()
    with npipe.Connection.adopt(mine.detach(), NOWHERE) as adopted:
        theirs.send(b"hello")
        assert adopted.read(5) == b"hello"
        assert isinstance(io.BufferedReader(adopted), io.BufferedReader)
    theirs.close()


def test_adopt_refuses_what_is_no_connection_and_leaves_it_open() -> None:
    with (
        socket.socket(socket.AF_INET) as other,
        socket.socket(socket.AF_UNIX) as lonely,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
    ):
        for sock, error in ((other, ValueError), (datagrams, ValueError), (lonely, OSError)):
            with pytest.raises(error):
                npipe.Connection.adopt(sock.fileno(), NOWHERE)
            os.fstat(sock.fileno())


def test_a_default_timeout_of_the_program_changes_nothing(path: str) -> None:
    ours, theirs = socket.socketpair()
    socket.setdefaulttimeout(0.001)
    try:
        with (
            npipe.listen(path) as listener,
            npipe.connect(path) as client,
            listener.accept(10) as server,
            npipe.Connection.adopt(ours.detach(), NOWHERE) as adopted,
        ):
            for end in (client, server, adopted):
                assert os.get_blocking(end.fileno())
                assert not end.wait_readable(0.01)
    finally:
        socket.setdefaulttimeout(None)
        theirs.close()

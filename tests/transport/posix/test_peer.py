"""npipe.transport.posix.peer: the identity of the peer."""

from __future__ import annotations

import os
import socket
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.transport.posix.peer import peer_of

Pair = tuple[npipe.Connection, npipe.Connection]


def test_b34_the_peer_is_known(pair: Pair) -> None:
    for end in pair:
        assert (end.peer.uid, end.peer.gid) == (os.geteuid(), os.getegid())
        assert end.peer.pid == os.getpid()


def test_the_peer_of_an_unconnected_socket_is_unknown() -> None:
    with socket.socket(socket.AF_INET) as sock:
        assert peer_of(sock) == npipe.PeerIdentity()

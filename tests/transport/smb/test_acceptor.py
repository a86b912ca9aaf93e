"""Replies to smbd, and clients other than smbd."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading

import pytest

import npipe
from npipe.transport.smb import acceptor, npa
from peers.smb_fixtures import pipe_address


def connect(listener: npipe.SambaListener) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(listener.address.path)
    return sock


def test_one_that_says_nothing_is_dropped_and_holds_up_nobody(listener, remote, monkeypatch):
    monkeypatch.setattr(acceptor, "PATIENCE", 0.5)
    with connect(listener) as silent:
        client = npipe.connect(pipe_address(listener), remote=remote, connect_timeout=30)
        with client, listener.accept(timeout=30) as server:
            server.write(b"x")
            assert client.read(1) == b"x"
        assert silent.recv(1) == b""


@pytest.mark.parametrize(
    "message",
    [
        b"\0\0\0\x04NPAM",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x20NPAM\x07\0\0\0\x07\0\0\0" + bytes(20),
    ],
)
def test_one_that_says_something_else_is_dropped(listener, message):
    with connect(listener) as stranger:
        stranger.sendall(message)
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""
    with pytest.raises(TimeoutError):
        listener.accept(timeout=0)


def test_clients_are_answered_while_the_program_does_not_accept(listener, remote):
    """Else every other pipe and file of these clients would stand still."""
    clients = [
        npipe.connect(pipe_address(listener), remote=remote, connect_timeout=30) for _ in range(3)
    ]
    for client in clients:
        with listener.accept(timeout=30), client:
            pass


def test_no_more_are_taken_than_the_backlog(smbd, remote):
    with (
        npipe.SambaListener("full", directory=smbd.sockets, backlog=1) as listener,
        npipe.connect(pipe_address(listener), remote=remote, connect_timeout=30),
    ):
        with pytest.raises(TimeoutError):
            npipe.connect(pipe_address(listener), remote=remote, connect_timeout=0.5)
        listener.accept(timeout=30).close()


def test_no_byte_behind_the_message_is_taken(listener):
    """A client's first bytes may come with it: they are the connection's."""
    message = bytearray(b"NPAM" + bytes(8))
    data = len(message).to_bytes(4, "big") + message
    assert acceptor._missing(bytearray(data)) == 0
    assert acceptor._missing(bytearray(data[:10])) == len(data) - 10
    assert acceptor._missing(bytearray(b"\0\0")) == 2
    assert npa.LONGEST < 1 << 24


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_who_reaches_the_socket_is_refused(tmp_path):
    """The directory keeps others away; if it does not, anybody could say that he is anybody."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    with npipe.SambaListener("open", directory=str(tmp_path), access="everyone") as listener:
        os.chmod(listener.address.path, 0o666)
        code = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534)\n"
            "sock = socket.socket(socket.AF_UNIX); sock.settimeout(60); sock.connect(sys.argv[1])\n"
            "sys.exit(0 if sock.recv(1) == b'' else 3)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, listener.address.path], check=False, timeout=60
        )
        assert done.returncode == 0


def test_its_thread_ends(smbd):
    listener = npipe.SambaListener("ends", directory=smbd.sockets)
    (thread,) = (each for each in threading.enumerate() if each.name.endswith("/ends"))
    listener.close()
    thread.join(60)
    assert not thread.is_alive()

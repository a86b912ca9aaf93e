"""Serving behind a real Samba: who is let in, what is known of a client, that no tail is lost."""

from __future__ import annotations

import os
import random
import socket
import stat
import threading

import pytest

import npipe
from npipe.errors import ClosedError
from npipe.transport.smb import npa, samba
from peers.smb_fixtures import pipe_address
from peers.smbd import OTHER, PASSWORD, USER


def dial(listener: npipe.SambaListener, port: int, user: str = USER) -> npipe.Connection:
    remote = npipe.Smb(user, PASSWORD, port=port)
    return npipe.connect(pipe_address(listener), remote=remote, connect_timeout=30)


def test_who_the_client_is(pair):
    _, server = pair()
    peer = server.peer
    assert (peer.account, peer.domain, peer.host) == (USER, "NPIPETEST", "127.0.0.1")
    assert (peer.uid, peer.gid, peer.pid) == (os.getuid(), os.getgid(), None)
    assert peer.sid in peer.sids


@pytest.mark.parametrize(
    ("access", "is_let_in"),
    [
        ("owner", False),
        ("group", False),
        ("everyone", True),
        (lambda peer: peer.account == OTHER, True),
        (lambda peer: "S-1-5-32-544" in peer.sids, False),
    ],
    ids=["owner", "group", "everyone", "account", "administrators"],
)
def test_another_user_of_this_computer(smbd, access, is_let_in):
    with npipe.SambaListener("access", directory=smbd.sockets, access=access) as listener:
        if is_let_in:
            with dial(listener, smbd.port, OTHER), listener.accept(timeout=30) as server:
                assert server.peer.uid == os.getuid() + 7
            return
        with pytest.raises(ConnectionRefusedError, match="refused"):
            dial(listener, smbd.port, OTHER)
        with pytest.raises(TimeoutError):
            listener.accept(timeout=0)
        if isinstance(access, str):
            dial(listener, smbd.port).close()  # its own user may


def test_an_unknown_samba_is_refused_where_identity_is_asked_for(smbd, monkeypatch):
    monkeypatch.setattr(npa, "LEVELS", (99,))
    with (
        npipe.SambaListener("unknown", directory=smbd.sockets, access="everyone") as listener,
        pytest.raises(ConnectionRefusedError),
    ):
        dial(listener, smbd.port)
    with (
        npipe.SambaListener("unknown", directory=smbd.sockets, anonymous=True) as listener,
        dial(listener, smbd.port),
        listener.accept(timeout=30) as server,
    ):
        assert server.peer == npipe.PeerIdentity()


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_no_tail_is_lost_when_the_server_closes_at_once(pair, size):
    """smbd throws away what its client has not read when the server hangs up."""
    sent = random.Random(size).randbytes(size)
    for _ in range(5):
        client, server = pair()

        def serve(server: npipe.Connection = server) -> None:
            server.write(sent)
            server.close()

        serving = threading.Thread(target=serve)
        serving.start()
        assert client.read() == sent
        serving.join()
        client.close()


def test_a_client_that_reads_nothing_holds_a_closed_socket_for_a_while_only(pair, monkeypatch):
    monkeypatch.setattr(samba, "LINGER", 0.1)
    client, server = pair()
    server.write(bytes(100_000))
    server.close()
    assert server.closed
    for thread in threading.enumerate():
        if thread.name == "npipe-samba-linger":
            thread.join()
    assert client.closed is False


def test_there_is_no_half_close(pair):
    client, server = pair()
    with pytest.raises(OSError, match="half-close"):
        server.close_write()
    server.write(b"still open")
    assert client.read(100) == b"still open"


def test_the_socket_is_closed_to_others_and_goes_with_the_listener(smbd):
    listener = npipe.SambaListener("Upper\\Name", directory=smbd.sockets)
    path = f"{smbd.sockets}/upper\\name"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert str(listener.address) == path
    with pytest.raises(OSError, match="in use"):
        npipe.SambaListener("upper\\name", directory=smbd.sockets)
    with dial(listener, smbd.port), listener.accept(timeout=30):
        listener.close()
    assert not os.path.exists(path)
    with pytest.raises(ClosedError):
        listener.accept()


def test_a_socket_passed_by_systemd(smbd):
    path = f"{smbd.sockets}/passed"
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    address = npipe.Address("unix", path)
    with (
        npipe.SambaListener.adopt(sock.detach(), address, access="everyone") as listener,
        dial(listener, smbd.port) as client,
        listener.accept(timeout=30) as server,
    ):
        server.write(b"x")
        assert client.read(1) == b"x"
    assert os.path.exists(path)  # it is systemd's


def test_closing_wakes_accept_and_ends_those_who_wait(smbd):
    listener = npipe.SambaListener("closing", directory=smbd.sockets)
    client = dial(listener, smbd.port)
    listener.close()
    assert client.read() == b""
    client.close()
    listener = npipe.SambaListener("closing", directory=smbd.sockets)
    timer = threading.Timer(0.1, listener.close)
    timer.start()
    assert list(listener) == []
    timer.join()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "a\0b"])
def test_bad_names(name, smbd):
    with pytest.raises(ValueError, match="bad name"):
        npipe.SambaListener(name, directory=smbd.sockets)


def test_bad_access_and_no_directory(smbd, tmp_path):
    with pytest.raises(ValueError, match="access=384"):
        npipe.SambaListener("x", directory=smbd.sockets, access=0o600)
    with pytest.raises(FileNotFoundError):
        npipe.SambaListener("x", directory=str(tmp_path / "missing"))


def test_the_session_key_is_not_kept(pair):
    _, server = pair()
    assert "key" not in repr(server.peer).lower()

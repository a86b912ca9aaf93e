"""From TCP to an open pipe: every stage that may fall silent, every refusal, every dialect."""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
import time

import pytest

import npipe
from npipe.address import parse
from npipe.transport.smb.connection import SmbConnection
from npipe.transport.smb.handshake import Handshake, _StrictConnection
from npipe.transport.smb.samba import SambaListener
from npipe.transport.smb.sealing import CCM, GCM, Encryption, Signing
from npipe.transport.smb.socket_transport import SocketTransport
from peers.smb_proxy import proxy
from peers.smbd import PASSWORD, USER, free_port, running_smbd
from until import wait_until

DIALECTS = {"2.0.2": 0x202, "2.1": 0x210, "3.0": 0x300, "3.0.2": 0x302, "3.1.1": 0x311}


def handshakes() -> list[str]:
    """The threads that a handshake runs in."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("npipe-smb", "msg_worker"))]


def await_no_handshake() -> None:
    wait_until(lambda: not handshakes())


@pytest.mark.parametrize("replies", range(6))
def test_a_server_that_falls_silent_at_any_stage_is_given_up_at_the_deadline(
    smbd, address, listener, replies
):
    """0: NEGOTIATE is not answered; 1, 2: SESSION_SETUP; 3: TREE_CONNECT; 4: CREATE; 5: READ."""
    left = [replies]

    def change(frame: bytes) -> bytes | None:
        left[0] -= 1
        return frame if left[0] >= 0 else None

    with proxy(smbd.port, change) as port:
        remote = npipe.Smb(USER, PASSWORD, port=port)
        if replies == 5:
            with npipe.connect(address, remote=remote, connect_timeout=30) as connection:
                connection.set_read_deadline(time.monotonic() + 0.2)
                with pytest.raises(TimeoutError):
                    connection.read(1)
        else:
            with pytest.raises(TimeoutError, match=r"did not answer within 0\.3 s"):
                npipe.connect(address, remote=remote, connect_timeout=0.3)
        await_no_handshake()


def test_a_server_that_accepts_and_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        remote = npipe.Smb(USER, PASSWORD, port=silent.getsockname()[1])
        with pytest.raises(TimeoutError):
            npipe.connect(r"\\127.0.0.1\pipe\x", remote=remote, connect_timeout=0.2)
        await_no_handshake()


@pytest.mark.parametrize("junk", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x04abcd"])
def test_a_server_that_speaks_something_else(junk):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(junk)

        serving = threading.Thread(target=serve)
        serving.start()
        remote = npipe.Smb(USER, PASSWORD, port=server.getsockname()[1])
        with pytest.raises((ConnectionResetError, ConnectionAbortedError)):
            npipe.connect(r"\\127.0.0.1\pipe\x", remote=remote, connect_timeout=30)
        serving.join()
    await_no_handshake()


def test_no_server_at_all():
    remote = npipe.Smb(USER, PASSWORD, port=free_port())
    with pytest.raises(ConnectionRefusedError):
        npipe.connect(r"\\127.0.0.1\pipe\x", remote=remote, connect_timeout=30)
    with pytest.raises(TimeoutError, match="no server appeared"):
        npipe.connect(r"\\127.0.0.1\pipe\x", remote=remote, connect_timeout=0.2, wait=True)


def test_a_wrong_password_and_an_unknown_user(smbd, address):
    for user, password in ((USER, "guessed"), ("nobody-at-all", PASSWORD)):
        remote = npipe.Smb(user, password, port=smbd.port)
        with pytest.raises(PermissionError, match="wrong user name or password") as caught:
            npipe.connect(address, remote=remote, connect_timeout=30)
        assert caught.value.ntstatus == 0xC000006D
        assert password not in str(caught.value)


def test_a_missing_pipe(smbd, remote):
    with pytest.raises(FileNotFoundError, match="no such pipe"):
        npipe.connect(r"\\127.0.0.1\pipe\missing", remote=remote, connect_timeout=30)
    assert not npipe.exists(r"\\127.0.0.1\pipe\missing", remote=remote)


def test_a_pipe_that_comes_is_waited_for(smbd, remote):
    listening: list[SambaListener] = []
    timer = threading.Timer(
        0.3, lambda: listening.append(SambaListener("later", directory=smbd.sockets))
    )
    timer.start()
    with npipe.connect(r"\\127.0.0.1\pipe\later", remote=remote, connect_timeout=30, wait=True):
        assert npipe.exists(r"\\127.0.0.1\pipe\LATER", remote=remote)
    timer.join()
    listening[0].close()


@pytest.mark.parametrize("encrypt", [False, True], ids=["signed", "encrypted"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect(smbd, listener, address, dialect, encrypt):
    remote = npipe.Smb(USER, PASSWORD, port=smbd.port, encrypt=encrypt)
    if encrypt and DIALECTS[dialect] < 0x300:
        with pytest.raises(OSError, match="cannot encrypt"):
            open_pipe(address, remote, dialect=DIALECTS[dialect])
        return
    check_works(open_pipe(address, remote, dialect=DIALECTS[dialect]), listener)


@pytest.mark.parametrize("cipher", sorted(CCM | GCM))
def test_every_cipher(smbd, listener, address, cipher):
    remote = npipe.Smb(USER, PASSWORD, port=smbd.port)
    connection = open_pipe(address, remote, preferred_encryption_algos=[cipher])
    assert isinstance(connection._channel._seal, Encryption)
    check_works(connection, listener)


@pytest.mark.parametrize("algorithm", [0, 1, 2], ids=["hmac", "cmac", "gmac"])
def test_every_signature(smbd, listener, address, algorithm):
    remote = npipe.Smb(USER, PASSWORD, port=smbd.port, encrypt=False)
    connection = open_pipe(address, remote, preferred_signing_algos=[algorithm])
    assert isinstance(connection._channel._seal, Signing)
    check_works(connection, listener)


def open_pipe(address: str, remote: npipe.Smb, **offer: object) -> SmbConnection:
    handshake = Handshake(parse(address), remote, time.monotonic() + 30)
    with contextlib.ExitStack() as closing:
        closing.callback(handshake.end)
        handshake.log_on(**offer)
        result = handshake.open_pipe()
    return SmbConnection(result, parse(address), npipe.PeerIdentity(), remote.keepalive)


def check_works(connection: SmbConnection, listener: SambaListener) -> None:
    """Both ways, more than one message can carry, and the end."""
    with connection, listener.accept(timeout=30) as server:
        sent = bytes(range(256)) * 1024
        writing = threading.Thread(target=connection.write, args=(sent,))
        writing.start()
        got = b""
        while len(got) < len(sent):
            got += server.read(65536)
        writing.join()
        assert got == sent
        server.write(b"answer")
        server.close()
        assert connection.read() == b"answer"


def test_a_server_that_requires_encryption_gets_it_unasked(smbd):
    with (
        running_smbd(smb_encrypt="required") as strict,
        SambaListener("x", directory=strict.sockets) as listener,
    ):
        address = r"\\127.0.0.1\pipe\x"
        remote = npipe.Smb(USER, PASSWORD, port=strict.port, encrypt=False)
        connection = open_pipe(address, remote)
        assert isinstance(connection._channel._seal, Encryption)
        check_works(connection, listener)
        with pytest.raises(OSError, match=r"SMB handshake|access denied|cannot encrypt"):
            open_pipe(address, remote, dialect=0x210)


def test_guests_are_not_let_in_unawares(smbd):
    with running_smbd(map_to_guest="Bad User") as lax:
        remote = npipe.Smb("nobody-at-all", PASSWORD, port=lax.port)
        with pytest.raises(PermissionError, match="guest"):
            npipe.connect(r"\\127.0.0.1\pipe\x", remote=remote, connect_timeout=30)


def test_nothing_of_one_log_on_is_left_for_the_next(smbd, address, listener, remote):
    """smbprotocol's own functions keep a session for the whole process, and use it for others."""
    with npipe.connect(address, remote=remote, connect_timeout=30):
        wrong = npipe.Smb(USER, "wrong", port=smbd.port)
        with pytest.raises(PermissionError):
            npipe.connect(address, remote=wrong, connect_timeout=30)


def test_the_parts_of_smbprotocol_that_are_used_are_there():
    from smbprotocol.connection import Connection
    from smbprotocol.session import Session

    transport = SocketTransport(time.monotonic() + 1)
    connection = _StrictConnection(transport, "host", 445)
    assert connection.transport is transport
    assert connection._t_worker is None
    assert {"low", "high"} <= set(connection.sequence_window)
    for name in ("cipher_id", "signing_algorithm_id", "outstanding_requests", "session_table"):
        assert hasattr(connection, name)
    session = Session(connection, "user", "password")
    for name in ("encrypt_data", "signing_key", "encryption_key", "decryption_key"):
        assert hasattr(session, name)
    parameters = list(inspect.signature(Connection.verify_signature).parameters)
    assert parameters == ["self", "header", "session_id", "force"]
    source = inspect.getsource(Connection._process_message_thread)
    assert "self.verify_signature(header, session_id)" in source
    assert "self.transport.recv(" in source
    assert "self.transport = Tcp(" in inspect.getsource(Connection.connect)

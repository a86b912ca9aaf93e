"""A man in the middle gets nothing believed: the two attacks that smbprotocol 1.17 falls for, and
others like them.

Each is tried on the open pipe, which is this project's code, and in the handshake, where it is
smbprotocol's with ``_StrictConnection`` around it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable

import pytest

import npipe
from peers.require import has_module
from peers.smb_fixtures import listener, pipe_address, smbd
from peers.smb_proxy import Change, command_of, proxy
from peers.smbd import PASSWORD, USER

if sys.platform == "win32":
    pytest.skip("there is no smbd for Windows", allow_module_level=True)
if not has_module("smbprotocol"):
    pytest.skip('needs the extra "smb"', allow_module_level=True)

__all__ = ["listener", "smbd"]

READ, CREATE, SESSION_SETUP, TREE_CONNECT = 8, 5, 1, 3


@pytest.fixture
def attacked(smbd, listener):
    """Connect through a proxy; return both ends. The attack begins when ``armed`` is filled."""
    ends = []

    def connect(change: Change, **options: bool) -> tuple[npipe.Connection, npipe.Connection]:
        middle = proxy(smbd.port, change)
        port = middle.__enter__()
        ends.append(lambda: middle.__exit__(None, None, None))
        client = npipe.connect(
            pipe_address(listener),
            remote=npipe.Smb(USER, PASSWORD, port=port, **options),
            connect_timeout=30,
        )
        server = listener.accept(timeout=30)
        ends.extend((client.close, server.close))
        return client, server

    yield connect
    for end in reversed(ends):
        end()


def strip_signature(frame: bytes, text: bytes = b"EVIL") -> bytes:
    """Change a reply to READ, and say that it is not signed."""
    changed = bytearray(frame)
    (flags,) = struct.unpack_from("<I", frame, 16)
    struct.pack_into("<I", changed, 16, flags & ~8)
    changed[48:64] = bytes(16)
    start, length = frame[66], struct.unpack_from("<I", frame, 68)[0]
    changed[start : start + length] = (text * length)[:length]
    return bytes(changed)


def forged_read(message_id: int, text: bytes = b"EVIL") -> bytes:
    """A plaintext reply to READ from nobody."""
    head = b"\xfeSMB" + struct.pack("<HHIHHIIQIIQ", 64, 1, 0, READ, 1, 1, 0, message_id, 0, 0, 0)
    return head + bytes(16) + struct.pack("<HBBIII", 17, 80, 0, len(text), 0, 0) + text


def is_data(frame: bytes) -> bool:
    return command_of(frame) == READ and not struct.unpack_from("<I", frame, 8)[0]


def test_an_unsigned_reply_on_a_signed_session_is_refused(attacked):
    def change(frame: bytes) -> bytes:
        return strip_signature(frame) if is_data(frame) else frame

    client, server = attacked(change, encrypt=False)
    server.write(b"the truth")
    with pytest.raises(ConnectionAbortedError, match="unsigned"):
        client.read(100)
    with pytest.raises(ConnectionAbortedError):
        client.write(b"x")


def test_a_changed_reply_on_a_signed_session_is_refused(attacked):
    def change(frame: bytes) -> bytes:
        return frame[:-1] + bytes((frame[-1] ^ 1,)) if is_data(frame) else frame

    client, server = attacked(change, encrypt=False)
    server.write(b"the truth")
    with pytest.raises(ConnectionAbortedError, match="changed"):
        client.read(100)


@pytest.fixture
def on_encrypted(attacked) -> Callable[..., None]:
    """Check that what ``forge`` makes of the next reply to READ ends the connection."""

    def check(forge: Callable[[bytes, int], bytes], match: str) -> None:
        armed: list[int] = []

        def change(frame: bytes) -> bytes:
            return forge(frame, armed.pop()) if armed else frame

        client, server = attacked(change)
        client.set_read_deadline(0)
        with pytest.raises(TimeoutError):
            client.read(1)
        client.set_read_deadline(None)
        (client._channel.request_read(), client._flush())
        armed.append(next(iter(client._channel._asked)))
        server.write(b"the truth")
        with pytest.raises(ConnectionAbortedError, match=match):
            client.read(100)

    return check


def test_a_plaintext_reply_on_an_encrypted_session_is_refused(on_encrypted):
    on_encrypted(lambda frame, message_id: forged_read(message_id), "plaintext")


def test_a_changed_reply_on_an_encrypted_session_is_refused(on_encrypted):
    on_encrypted(lambda frame, _: frame[:-1] + bytes((frame[-1] ^ 1,)), "changed")


def test_a_reply_of_another_session_is_refused(on_encrypted):
    on_encrypted(lambda frame, _: frame[:44] + bytes(8) + frame[52:], "of another session")


def test_a_replayed_reply_is_refused(attacked):
    seen: list[bytes] = []

    def change(frame: bytes) -> bytes:
        if frame[:4] == b"\xfdSMB":
            seen.append(frame)
        return seen[-2] if armed else frame

    armed: list[bool] = []
    client, server = attacked(change)
    client.write(b"x")
    armed.append(True)
    server.write(b"the truth")
    with pytest.raises(ConnectionAbortedError, match="a reply without a request"):
        client.read(100)


def test_a_reply_too_long_is_refused_before_it_is_read(attacked):
    armed: list[bool] = []

    def change(frame: bytes) -> bytes:
        return bytes(1 << 20) if armed else frame

    client, server = attacked(change)
    armed.append(True)
    server.write(b"the truth")
    with pytest.raises(ConnectionAbortedError, match="1048576 bytes"):
        client.read(100)


def unsigned(frame: bytes) -> bytes:
    (flags,) = struct.unpack_from("<I", frame, 16)
    return frame[:16] + struct.pack("<I", flags & ~8) + frame[20:48] + bytes(16) + frame[64:]


def as_log_on(frame: bytes) -> bytes:
    """Pass for a reply to the log-on, of another session: those need no signature."""
    frame = unsigned(frame)
    return frame[:12] + struct.pack("<H", SESSION_SETUP) + frame[14:40] + b"\xad" * 8 + frame[48:]


@pytest.mark.parametrize("forge", [unsigned, as_log_on])
@pytest.mark.parametrize("stage", [TREE_CONNECT, CREATE])
def test_an_unsigned_reply_in_the_handshake_is_refused(attacked, stage, forge):
    def change(frame: bytes) -> bytes:
        return forge(frame) if command_of(frame) == stage else frame

    with pytest.raises(ConnectionAbortedError, match=r"unsigned|another request"):
        attacked(change, encrypt=False)


def test_a_plaintext_reply_in_an_encrypted_handshake_is_refused(attacked):
    """The reply to TREE_CONNECT, the first that is encrypted, to message 3."""

    def change(frame: bytes) -> bytes:
        return forged_tree() if frame[:4] == b"\xfdSMB" else frame

    with pytest.raises(ConnectionAbortedError, match="plaintext"):
        attacked(change)


def forged_tree() -> bytes:
    head = b"\xfeSMB" + struct.pack("<HHIHHIIQIIQ", 64, 1, 0, TREE_CONNECT, 1, 1, 0, 3, 0, 1, 0)
    return head + bytes(16) + struct.pack("<HBBIII", 16, 2, 0, 0, 0, 0)


def test_the_library_alone_would_believe_them(attacked, monkeypatch):
    """Else ``_StrictConnection`` is not needed any more, and these tests show nothing."""
    from smbprotocol.connection import Connection

    from npipe.transport.smb import handshake

    monkeypatch.setattr(
        handshake._StrictConnection, "verify_signature", Connection.verify_signature
    )

    def change(frame: bytes) -> bytes:
        return unsigned(frame) if command_of(frame) == CREATE else frame

    attacked(change, encrypt=False)

"""Handshake with Samba: the messages between smbd and the server of a pipe that a client opens.

Named pipe authentication ("NPA"): smbd connects to the pipe's Unix socket, sends one message with
the identity of the client, and waits for a reply of 36 bytes; from then on the socket is the pipe.
The message is NDR (C706, chapter 14). Its fields are those of ``named_pipe_auth.idl`` in Samba's
sources, which may change in any release, so messages have a number, the "level". Samba 4.16 to 4.19
use level 7, 4.20 and later level 8; both were tested.

Pure: bytes in, bytes out. The client's session key, which the message contains, is skipped.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from npipe.security import PeerIdentity

__all__ = ["LONGEST", "Greeting", "UnknownLevel", "level_of", "parse", "reply"]

LONGEST: Final = 1 << 18  # bytes; a user of a thousand groups has some 30,000
LEVELS: Final = (7, 8)
_BYTE_STREAM: Final = 1  # FILE_TYPE_BYTE_MODE_PIPE
_DEVICE_STATE: Final = 0xFF
_ALLOCATION: Final = 4096
_CLAIMS_KINDS: Final = 3
_NOT_AUTHENTICATED: Final = 0x1  # AUTH_SESSION_INFO... user_flags of level 8


class UnknownLevel(ValueError):
    """The message is from a Samba version that is too new or too old."""


class Greeting(NamedTuple):
    """The contents of smbd's message about a client."""

    level: int
    authenticated: bool
    peer: PeerIdentity


def level_of(message: bytes) -> int:
    """Return the level of a message, which the reply repeats. Raises ValueError."""
    if len(message) < 12 or message[4:8] != b"NPAM":
        raise ValueError("not a message of smbd")
    return int(struct.unpack_from("<I", message, 8)[0])


def reply(level: int) -> bytes:
    """Return the reply with which smbd opens the pipe as a byte stream."""
    body = struct.pack(
        "<4sIIHHxxxxQI", b"NPAM", level, level, _BYTE_STREAM, _DEVICE_STATE, _ALLOCATION, 0
    )
    return struct.pack(">I", len(body)) + body


def parse(message: bytes) -> Greeting:
    """Parse smbd's message, including the four bytes of its length.

    Raises ValueError if the message is invalid, UnknownLevel if its level is unknown.
    """
    level = level_of(message)
    if level not in LEVELS:
        raise UnknownLevel(
            f"this Samba uses level {level} of its protocol; this npipe supports 7 and 8"
        )
    try:
        return _parse(level, _Ndr(message, 12))
    except (struct.error, IndexError) as error:
        raise ValueError(f"a broken message of smbd: {error}") from None


def _parse(level: int, ndr: _Ndr) -> Greeting:
    ndr.u32()  # the union's level, again
    host = _addresses(ndr)
    parts = None if host is None else _session(ndr)
    if parts is None:
        raise ValueError("smbd sent no identity of the client")
    token, unix, info = parts
    sids = _token(ndr, level) if token else ()
    uid, gid, groups = _unix_token(ndr) if unix else (None, None, ())
    account, domain, authenticated = _info(ndr, level) if info else (None, None, False)
    peer = PeerIdentity(
        uid=uid,
        gid=gid,
        sid=sids[0] if sids else None,
        account=account,
        domain=domain,
        sids=sids,
        groups=groups,
        host=host,
    )
    return Greeting(level, authenticated, peer)


def _addresses(ndr: _Ndr) -> str | None:
    """Parse the addresses; return the client's IP address, "" if there is none."""
    ndr.align(4)
    ndr.u8()  # the transport
    client_name, client_address = ndr.u32(), ndr.u32()
    ndr.u16()  # its port
    server_name, server_address = ndr.u32(), ndr.u32()
    ndr.u16()
    session = ndr.u32()
    host = ""
    for pointer, is_host in (
        (client_name, False),
        (client_address, True),
        (server_name, False),
        (server_address, False),
    ):
        if pointer:
            text = ndr.string()
            host = text if is_host else host
    return host if session else None


def _session(ndr: _Ndr) -> tuple[int, int, int] | None:
    """Skip the client's session key and tickets; return whether each further part is present.

    The parts are the token, the Unix token and the user. Two more follow and are not read.
    """
    present = ndr.u32()
    ndr.blob()  # exported GSSAPI credentials
    if not present:
        return None
    token, unix, info, _, _ = (ndr.u32() for _ in range(5))
    ndr.align(4)
    ndr.blob()  # the session key: skipped, never stored
    ndr.u32()
    ndr.align(4)
    ndr.raw(16)  # the session's GUID
    ndr.u16()  # ticket type
    return token, unix, info


def _token(ndr: _Ndr, level: int) -> tuple[str, ...]:
    """Read a ``security_token``: the SIDs of the user and the groups, the user's first."""
    ndr.u32()
    sids = tuple(ndr.sid() for _ in range(ndr.count(12)))
    ndr.u64()  # privileges
    ndr.u32()  # rights
    if level == 8:
        _claims(ndr)
    return sids


def _claims(ndr: _Ndr) -> None:
    """Skip the claims of Active Directory."""
    counts = [ndr.u32() for _ in range(_CLAIMS_KINDS + 1)]
    if any(counts[:_CLAIMS_KINDS]):
        raise UnknownLevel("a client with claims of Active Directory, which are not supported")
    for _ in range(_CLAIMS_KINDS):
        ndr.u32()
    ndr.u32()
    if counts[-1] > ndr.left // 8:
        raise ValueError("a broken message of smbd: more device SIDs than bytes")
    for _ in range(counts[-1]):
        ndr.sid()
    ndr.u16()


def _unix_token(ndr: _Ndr) -> tuple[int, int, tuple[int, ...]]:
    """Read a ``security_unix_token``: uid, gid and the other groups."""
    ndr.u32()
    ndr.align(8)
    uid, gid = ndr.u64(), ndr.u64()
    count = ndr.count(8)
    return uid, gid, tuple(ndr.u64() for _ in range(count))


def _info(ndr: _Ndr, level: int) -> tuple[str | None, str | None, bool]:
    """Read an ``auth_user_info``: account, domain, and whether the client was authenticated."""
    ndr.align(4)
    account, principal = ndr.u32(), ndr.u32()
    ndr.u8()  # whether the principal was invented
    domain = ndr.u32()
    for _ in range(7):  # the DNS domain, full name, scripts and directories
        ndr.u32()
    for _ in range(6):  # times
        ndr.u64(4)
    ndr.u16()  # counts of log-ons
    ndr.u16()
    ndr.u32()  # account flags
    authenticated = bool(ndr.u8()) if level == 7 else not ndr.u32() & _NOT_AUTHENTICATED
    name = ndr.string() if account else None
    if principal:
        ndr.string()
    return name, ndr.string() if domain else None, authenticated


class _Ndr:
    """Parses little-endian NDR, never beyond the end."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data = data
        self._at = offset

    @property
    def left(self) -> int:
        """Return the number of remaining bytes."""
        return len(self._data) - self._at

    def align(self, size: int) -> None:
        """Skip to a multiple of ``size`` bytes."""
        self._at += -self._at % size

    def raw(self, size: int) -> bytes:
        """Read ``size`` bytes."""
        if size > self.left:
            raise ValueError("a broken message of smbd: it is too short")
        start, self._at = self._at, self._at + size
        return self._data[start : self._at]

    def u8(self) -> int:
        """Read one byte."""
        return self.raw(1)[0]

    def u16(self) -> int:
        """Read an aligned number of 16 bits."""
        self.align(2)
        return int.from_bytes(self.raw(2), "little")

    def u32(self) -> int:
        """Read an aligned number of 32 bits."""
        self.align(4)
        return int.from_bytes(self.raw(4), "little")

    def u64(self, alignment: int = 8) -> int:
        """Read a number of 64 bits."""
        self.align(alignment)
        return int.from_bytes(self.raw(8), "little")

    def count(self, size: int) -> int:
        """Read the number of items of at least ``size`` bytes that follow."""
        count = self.u32()
        if count > self.left // size:
            raise ValueError("a broken message of smbd: more items than bytes")
        return count

    def string(self) -> str:
        """Read a conformant and varying string of UTF-8."""
        self.u32()
        self.u32()
        return self.raw(self.u32()).rstrip(b"\0").decode("utf-8", "replace")

    def blob(self) -> None:
        """Skip a counted array of bytes."""
        self.raw(self.u32())

    def sid(self) -> str:
        """Read a ``dom_sid``."""
        self.align(4)
        revision, count = self.u8(), self.u8()
        authority = int.from_bytes(self.raw(6), "big")
        return "-".join(map(str, ("S", revision, authority, *(self.u32() for _ in range(count)))))

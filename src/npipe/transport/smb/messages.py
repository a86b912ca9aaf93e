"""The SMB2 messages of an open pipe, as bytes (MS-SMB2, section 2.2).

smbprotocol has the messages before these (negotiation, log-on, open): see ``handshake.py``.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

__all__ = [
    "CLOSE",
    "ECHO",
    "HEADER_SIZE",
    "OPLOCK_BREAK",
    "READ",
    "SIGNED",
    "UNSOLICITED",
    "WRITE",
    "Header",
    "close_body",
    "echo_body",
    "header",
    "parse_header",
    "parse_read",
    "parse_write",
    "read_body",
    "write_body",
]

# Commands (2.2.1.2)
CLOSE: Final = 6
READ: Final = 8
WRITE: Final = 9
ECHO: Final = 13
OPLOCK_BREAK: Final = 18

# Flags (2.2.1.2)
RESPONSE: Final = 0x1
SIGNED: Final = 0x8

UNSOLICITED: Final = 0xFFFFFFFFFFFFFFFF  # the message id of a notification
HEADER_SIZE: Final = 64
# protocol id, structure size, credit charge, status, command, credits, flags, next command,
# message id, process id and tree id (of an asynchronous response: its id), session id, signature
_HEADER: Final = struct.Struct("<4sHHIHHIIQIIQ16s")
# size, padding, flags, length, offset, file id, least length, channel, what remains, and the
# offset, length and first byte of a channel's information
_READ: Final = struct.Struct("<HBBIQ16sIIIHHB")
# size, offset of the data, length, offset, file id, channel, what remains, and the offset and
# length of a channel's information, flags
_WRITE: Final = struct.Struct("<HHIQ16sIIHHI")
_READ_DATA_OFFSET: Final = 80  # offset of the data in the response, as all clients request it


class Header(NamedTuple):
    """The fields of a response's header."""

    status: int
    command: int
    credits: int
    flags: int
    next_command: int
    message_id: int
    session_id: int


def header(
    command: int,
    message_id: int,
    tree_id: int,
    session_id: int,
    *,
    charge: int,
    credit_request: int,
    flags: int,
) -> bytes:
    """Return the header of a request, without a signature."""
    return _HEADER.pack(
        b"\xfeSMB",
        HEADER_SIZE,
        charge,
        0,
        command,
        credit_request,
        flags,
        0,
        message_id,
        0,
        tree_id,
        session_id,
        bytes(16),
    )


def parse_header(message: bytes | memoryview) -> Header:
    """Parse the header of a response. Raises ValueError if it is invalid."""
    if len(message) < HEADER_SIZE:
        raise ValueError("a message shorter than its header")
    magic, size, _, status, command, credits_, flags, next_, id_, _, _, session, _ = (
        _HEADER.unpack_from(message)
    )
    if magic != b"\xfeSMB" or size != HEADER_SIZE or not flags & RESPONSE:
        raise ValueError("not a response of SMB2")
    return Header(status, command, credits_, flags, next_, id_, session)


def read_body(file_id: bytes, length: int) -> bytes:
    """Return a request for at most ``length`` bytes, answered as soon as there are any."""
    return _READ.pack(49, _READ_DATA_OFFSET, 0, length, 0, file_id, 0, 0, 0, 0, 0, 0)


def parse_read(message: bytes | memoryview) -> bytes:
    """Return the data of a response to READ. Raises ValueError if it is outside of the response."""
    if len(message) < HEADER_SIZE + 16:
        raise ValueError("a short response to READ")
    _, start, _, length = struct.unpack_from("<HBBI", message, HEADER_SIZE)
    if length and not HEADER_SIZE + 16 <= start <= start + length <= len(message):
        raise ValueError("a response to READ with data outside of it")
    return bytes(message[start : start + length])


def write_body(file_id: bytes, length: int) -> bytes:
    """Return a request to write ``length`` bytes, which follow the request."""
    offset = HEADER_SIZE + _WRITE.size
    return _WRITE.pack(49, offset, length, 0, file_id, 0, 0, 0, 0, 0)


def parse_write(message: bytes | memoryview) -> int:
    """Return the number of written bytes in a response to WRITE."""
    if len(message) < HEADER_SIZE + 16:
        raise ValueError("a short response to WRITE")
    return int(struct.unpack_from("<I", message, HEADER_SIZE + 4)[0])


def close_body(file_id: bytes) -> bytes:
    """Return a request to close the pipe."""
    return struct.pack("<HHI16s", 24, 0, 0, file_id)


def echo_body() -> bytes:
    """Return an echo request."""
    return struct.pack("<HH", 4, 0)

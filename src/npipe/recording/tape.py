"""The file format of a recording: JSON Lines, readable with jq or an editor.

The first line describes the tape, each further line is one event::

    {"tape":1,"target":"./geth.ipc","recorded":"2026-11-28T06:00:00+00:00"}
    {"t":0.000012,"c":1,"open":{"pid":4711,"uid":1000}}
    {"t":0.000412,"c":1,"from":"client","message":{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}}
    {"t":0.000731,"c":1,"from":"server","message":{"jsonrpc":"2.0","id":1,"result":"0x539"}}
    {"t":0.001240,"c":1,"from":"client","end":true}

======== ==========================================================================================
t        seconds since the start of the recording
c        the number of the connection
from     the sender: "client" or "server"
message  the JSON text as received, with line breaks between tokens replaced by spaces
text     in place of ``message``, text that is not JSON; ``base64`` if it is not UTF-8 either
open     the connection was made, by the process with this pid and uid (null: unknown)
refused  the server could not be reached; the value is the reason
end      the sender has closed its direction
lost     the rest of this direction was not recorded; the value is the reason
======== ==========================================================================================

The order of the lines is the order of events: a reply always follows its request.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

__all__ = ["Event", "Header", "Tape", "TapeFile", "load", "message_event"]

VERSION = 1

Side = Literal["client", "server"]


class Header(msgspec.Struct, omit_defaults=True):
    """The first line of a tape."""

    tape: int
    target: str = ""
    recorded: str = ""


class Event(msgspec.Struct, omit_defaults=True, rename={"side": "from"}):
    """One line of a tape; the module's table describes the members."""

    t: float
    c: int
    side: Side | None = None
    message: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    text: str | None = None
    base64: str | None = None
    open: dict[str, Any] | None = None
    refused: str | None = None
    end: bool = False
    lost: str | None = None


class Tape(msgspec.Struct):
    """A tape in memory: its header, and its events in order."""

    header: Header
    events: list[Event]


_decode_header = msgspec.json.Decoder(Header).decode
_decode_event = msgspec.json.Decoder(Event).decode
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


def load(path: str | os.PathLike[str]) -> Tape:
    """Read a tape.

    Args:
        path: The file.

    Returns:
        The header and the events.

    Raises:
        ValueError: The file is not a tape, is of a newer version, or is damaged; the message
            names the line.
        OSError: The file cannot be read.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        lines = file.read().splitlines()
    header = _read_header(name, lines[0] if lines else b"")
    events = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        try:
            events.append(_decode_event(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            cut = number == len(lines)
            hint = "the tape is cut off here; remove the line to use the rest" if cut else error
            raise ValueError(f"{name}, line {number}: not an event of a tape: {hint}") from error
    return Tape(header, events)


def _read_header(name: str, line: bytes) -> Header:
    try:
        header = _decode_header(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        text = f"{name} is not a tape: its first line does not describe one"
        raise ValueError(text) from error
    if header.tape != VERSION:
        raise ValueError(
            f"{name}: format version {header.tape}; this version of npipe reads {VERSION}"
        )
    return header


def message_event(at: float, connection: int, side: Side, message: bytes) -> Event:
    """Make the event of a message, with its content as JSON, text or base64."""
    try:
        message.decode()  # msgspec does not check the UTF-8 of a string that it does not decode

        _check_json(message)
        one_line = message.replace(b"\r", b" ").replace(b"\n", b" ")
        return Event(at, connection, side, message=msgspec.Raw(one_line))
    except UnicodeDecodeError:
        return Event(at, connection, side, base64=base64.b64encode(message).decode())
    except msgspec.MsgspecError:
        return Event(at, connection, side, text=message.decode())


class TapeFile:
    """Writer of a new tape. A recording may contain secrets: only the owner may read the file."""

    def __init__(self, path: str | os.PathLike[str], *, target: str) -> None:
        """Create the file.

        Args:
            path: The file, which must not exist.
            target: The address of the recorded server, for the header.

        Raises:
            FileExistsError: The file exists; recordings are never overwritten.
            OSError: The file cannot be created.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._encoder = msgspec.json.Encoder()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(Header(VERSION, target, now))
        self._file.flush()

    def __call__(self, events: Iterable[Event]) -> None:
        """Append events and flush them to the operating system."""
        for event in events:
            self._write(event)
        self._file.flush()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def _write(self, line: msgspec.Struct) -> None:
        self._file.write(self._encoder.encode(line) + b"\n")

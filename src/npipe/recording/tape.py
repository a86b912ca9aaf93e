"""The file of a recording: JSON Lines, to be read with jq or an editor.

The first line describes the tape, each further line is one event::

    {"tape":1,"target":"./geth.ipc","recorded":"2026-11-28T06:00:00+00:00"}
    {"t":0.000012,"c":1,"open":{"pid":4711,"uid":1000}}
    {"t":0.000412,"c":1,"from":"client","message":{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}}
    {"t":0.000731,"c":1,"from":"server","message":{"jsonrpc":"2.0","id":1,"result":"0x539"}}
    {"t":0.001240,"c":1,"from":"client","end":true}

======== ==========================================================================================
t        seconds since the recording began
c        the number of the connection
from     which end sent it: "client" or "server"
message  the JSON text as it came; only a line break between its tokens has become a space
text     in its place, a message that is not JSON; ``base64`` where it is not UTF-8 either
open     the connection was made, by the process with this pid and uid (null: unknown)
refused  the server could not be reached, and why
end      nothing more came from this end
lost     the rest of what this end sent was not recorded, and why
======== ==========================================================================================

The order of the lines is the order of events: an answer never stands before its question.
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
    """One line of a tape; see the table above."""

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
    """A tape that was read: what describes it, and its events in order."""

    header: Header
    events: list[Event]


_decode_header = msgspec.json.Decoder(Header).decode
_decode_event = msgspec.json.Decoder(Event).decode
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


def load(path: str | os.PathLike[str]) -> Tape:
    """Read the tape at ``path``.

    Raises:
        ValueError: It is no tape, of a newer version, or damaged; the message names the line.
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
        raise ValueError(f"{name}: version {header.tape} of the format; this npipe reads {VERSION}")
    return header


def message_event(at: float, connection: int, side: Side, message: bytes) -> Event:
    """Return the event for a message, as JSON, text or base64, whichever it is."""
    try:
        message.decode()  # msgspec does not look into a string that it does not decode
        _check_json(message)
        one_line = message.replace(b"\r", b" ").replace(b"\n", b" ")
        return Event(at, connection, side, message=msgspec.Raw(one_line))
    except UnicodeDecodeError:
        return Event(at, connection, side, base64=base64.b64encode(message).decode())
    except msgspec.MsgspecError:
        return Event(at, connection, side, text=message.decode())


class TapeFile:
    """Writes a new tape. A recording holds secrets, so only the owner may read the file."""

    def __init__(self, path: str | os.PathLike[str], *, target: str) -> None:
        """Make the file.

        Raises:
            FileExistsError: There is one of this name: no recording is ever overwritten.
            OSError: The file cannot be made.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._encoder = msgspec.json.Encoder()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write(Header(VERSION, target, now))
        self._file.flush()

    def __call__(self, events: Iterable[Event]) -> None:
        """Append events, and hand them to the system."""
        for event in events:
            self._write(event)
        self._file.flush()

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()

    def _write(self, line: msgspec.Struct) -> None:
        self._file.write(self._encoder.encode(line) + b"\n")

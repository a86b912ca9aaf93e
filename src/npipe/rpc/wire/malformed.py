"""Outer structure of a message that is not valid JSON, by brackets, quotes and commas only.

Sans-I/O. msgspec rejects the whole text for a lone surrogate escape, which Python's ``json`` writes
for a file name that is not UTF-8, or for a byte that is not UTF-8. The id of the request or reply
can usually be read nevertheless. Values are not validated here; the code that decodes them must.
"""

from __future__ import annotations

import re
import sys
from io import BytesIO

from npipe.rpc.wire.scanner import Container

__all__ = ["split_array", "split_object"]

_SPACE = re.compile(rb"[ \t\r\n]*")
_SCALAR = re.compile(rb'[^ \t\r\n,:{}\[\]"]*')


def split_object(data: bytes) -> tuple[dict[bytes, bytes], bool]:
    """Split the text of an object into its members, up to the first structural error.

    Returns:
        The values of the members as text, by their names between the quotes (the last of repeated
        ones), and whether the object ends where the text does.
    """
    members: dict[bytes, bytes] = {}
    pos = _after(data, 0, b"{")
    while 0 <= pos < len(data) and data[pos] == ord('"'):
        end = _end_of_value(data, pos)
        name = data[pos + 1 : end - 1]
        start = _after(data, end, b":")
        pos = -1 if start < 0 else _end_of_value(data, start)
        if pos <= start:
            return members, False
        members[name] = data[start:pos]
        if _is_end(data, pos, b"}"):
            return members, True
        pos = _after(data, pos, b",")
    return members, False


def split_array(data: bytes) -> list[bytes] | None:
    """Split the text of an array into its items; None if its structure is invalid."""
    items: list[bytes] = []
    start = _after(data, 0, b"[")
    while start >= 0:
        end = _end_of_value(data, start)
        if end == start:
            return None
        items.append(data[start:end])
        if _is_end(data, end, b"]"):
            return items
        start = _after(data, end, b",")
    return None


def _after(data: bytes, pos: int, mark: bytes) -> int:
    """Return the position after ``mark``, which must come next; -1 if it does not."""
    pos = _skip(data, pos)
    return _skip(data, pos + 1) if data[pos : pos + 1] == mark else -1


def _is_end(data: bytes, pos: int, bracket: bytes) -> bool:
    pos = _skip(data, pos)
    return data[pos : pos + 1] == bracket and _skip(data, pos + 1) == len(data)


def _skip(data: bytes, pos: int) -> int:
    space = _SPACE.match(data, pos)
    return space.end() if space else pos


def _end_of_value(data: bytes, pos: int) -> int:
    """Return the end of the value at ``pos``; the end of the text if the value does not end."""
    if data[pos : pos + 1] not in (b"{", b"[", b'"'):
        scalar = _SCALAR.match(data, pos)
        return scalar.end() if scalar else pos
    end = Container(sys.maxsize).scan(data, pos, BytesIO())
    return len(data) if end < 0 else end

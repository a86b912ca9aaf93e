"""Framing of the Language Server Protocol: a header with the length before each message.

Sans-I/O. ``framing`` documents the interface of all framings.
"""

from __future__ import annotations

import re
from io import BytesIO

from npipe.errors import ProtocolError
from npipe.rpc.wire.json_stream import CheckDepth, Reader, mismatch

__all__ = ["ContentLength"]

MAX_HEADER = 4096  # real headers have 20 to 100 bytes


class ContentLength(Reader):
    """Headers, an empty line, and the number of bytes given by ``Content-Length``."""

    def __init__(
        self, max_bytes: int, max_depth: int, check_depth: CheckDepth | None = None
    ) -> None:
        """Make a framing; see ``Reader``."""
        super().__init__(max_bytes, max_depth, check_depth)
        self._length: int | None = None  # of the message whose header has been read

    @property
    def pending(self) -> int:
        return self._held.tell() + (self._length is not None)

    def wrap(self, *messages: bytes) -> bytes:
        parts = (b"Content-Length: %d\r\n\r\n%b" % (len(text), text) for text in messages)
        return b"".join(parts)

    def _split(self, data: bytes, messages: list[bytes]) -> None:
        pos = 0
        while pos < len(data) or self._length == 0:
            if self._length is None:
                pos = self._header(data, pos)
                continue
            end = pos + self._length - self._held.tell()
            if end > len(data):
                self._held.write(data[pos:])
                return
            message = self._take(data[pos:end])
            self._length = None
            self._check_depth(message, self._max_depth)
            messages.append(message)
            pos = end

    def _header(self, data: bytes, pos: int) -> int:
        """Continue to read a header; return the position of its message or of the next chunk."""
        known = self._held.tell()
        if not known and (data[pos] in b'{["' or data[pos] == 0 or data[pos] >= 0x80):
            sent = "JSON without headers" if data[pos] in b'{["' else "a binary encoding"
            raise mismatch(sent, "a header (content-length)")
        self._held.write(data[pos : pos + MAX_HEADER + 4])
        end = self._held.getvalue().find(b"\r\n\r\n", max(0, known - 3))
        if end > MAX_HEADER or (end < 0 and self._held.tell() > MAX_HEADER):
            raise ProtocolError(f"a header is longer than {MAX_HEADER} bytes")
        if end < 0:
            return len(data)
        header, self._held = self._held.getvalue()[:end], BytesIO()
        self._length = _content_length(header)
        if self._length > self._max_bytes:
            raise ProtocolError(f"a message is longer than {self._max_bytes} bytes")
        return pos + end + 4 - known


def _content_length(header: bytes) -> int:
    """Return the value of Content-Length in ``header``. Raises ProtocolError."""
    lengths = []
    for line in header.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name, value = name.strip().lower(), value.strip()
        if not colon or not name:
            raise ProtocolError(f"not a header line: {line[:40]!r}")
        if name == b"content-length":
            lengths.append(value)
        elif name == b"content-type" and not _is_utf8(value):
            raise ProtocolError(f"the charset of a message must be UTF-8, not {value[:80]!r}")
    if len(lengths) != 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise ProtocolError("a header needs exactly one Content-Length, a number of bytes")
    return int(lengths[0])


def _is_utf8(content_type: bytes) -> bool:
    charset = re.search(rb'charset\s*=\s*"?([^\s;"]+)', content_type, re.IGNORECASE)
    # Early language servers sent "utf8"; the LSP specification accepts it.
    return charset is None or charset[1].lower() in (b"utf-8", b"utf8")

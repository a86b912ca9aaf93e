"""Bytes to complete messages, and back. Sans-I/O.

Here lives how messages are told apart in a stream of bytes, and the limits on what a peer may
make us hold. What a message says does not matter here; nothing is decoded.

================  ===========================================================================
json-stream       any stream of JSON values, in any chunks, with or without newlines between
ndjson            one message a line, nothing else (MCP)
content-length    a header with the length before each message (LSP, DAP)
auto              json-stream or content-length, by the first byte
================  ===========================================================================

What is not JSON comes out as a message too, so that its sender gets an answer (-32700) and the
connection lives on. A json-stream finds its way back at newlines:

* ``{...}``, ``[...]`` and ``"..."`` end where their bracket or quote closes, be it JSON or not;
* they end early at a newline that JSON does not allow there (see ``scanner``);
* a number, ``true``, ``false``, ``null`` ends before whitespace, a quote or an opening bracket;
* any other text is one message up to the end of its line.

Only a message that is too long, too deep, or in a wrong header cannot be recovered from: that
is a ProtocolError, and the end of the connection.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Protocol

from npipe.errors import ProtocolError, Truncated
from npipe.rpc.scanner import (
    WHITESPACE,
    Container,
    Word,
    is_one,
    is_whole,
    outline,
    whole_lines,
)

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Framing", "make"]

MAX_BYTES = 32 * 1024 * 1024  # the largest geth block traces seen are about 20 MB
MAX_DEPTH = 512  # half of what exhausts msgspec's recursion
MAX_HEADER = 4096  # real headers have 20 to 100 bytes
MAX_SHAPE = 256  # bytes of the outline that a json-stream remembers; a call has about 14

_NOT_SPACE = re.compile(rb"[^ \t\r\n]")


class Framing(Protocol):
    """One direction of reading and the matching way of writing, for one connection."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; return the messages that it completes, without the framing.

        Raises ProtocolError when the peer breaks a limit. Messages that were complete before
        the offence are returned first: then ``error`` is set, and the next call raises it.
        """

    def eof(self) -> list[bytes]:
        """Say that nothing more will come; return a last message that only now is complete.

        Raises Truncated in the middle of a message, and what ``feed`` still had to raise.
        """

    def wrap(self, *messages: bytes) -> bytes:
        """Return ``messages``, each of which is JSON, as they go on the wire."""

    @property
    def pending(self) -> int:
        """Bytes held of a message that is not complete yet."""

    @property
    def error(self) -> ProtocolError | None:
        """What the peer did wrong. Once set, nothing more can be read."""


def make(name: str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Framing:
    """Return a new framing: "json-stream", "ndjson", "content-length" or "auto".

    A message may have ``max_bytes`` bytes and nest brackets ``max_depth`` deep. Raises ValueError.
    """
    kinds: dict[str, type[_Reader]] = {
        "json-stream": JSONStream,
        "ndjson": NDJSON,
        "content-length": ContentLength,
        "auto": Auto,
    }
    if name not in kinds:
        raise ValueError(f"no framing is called {name!r}; there are {', '.join(kinds)}")
    return kinds[name](max_bytes, max_depth)


class _Reader:
    """What the framings share: holding a part of a message, and failing once and for all."""

    def __init__(self, max_bytes: int, max_depth: int) -> None:
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._held = BytesIO()  # gives its bytes away without copying them
        self._error: ProtocolError | None = None

    @property
    def pending(self) -> int:
        return self._held.tell()

    @property
    def error(self) -> ProtocolError | None:
        return self._error

    def feed(self, data: bytes) -> list[bytes]:
        if self._error is not None:
            raise self._error
        messages: list[bytes] = []
        try:
            self._split(bytes(data), messages)
        except ProtocolError as error:
            self._error = error
            self._held = BytesIO()
            if not messages:
                raise
        return messages

    def eof(self) -> list[bytes]:
        if self._error is not None:
            raise self._error
        if not self.pending:
            return []
        held, self._held = self._held.getvalue(), BytesIO()
        if self._complete_at_eof(held):
            return [held.strip(WHITESPACE)]
        raise Truncated(f"the stream ended in the middle of a message, after {len(held)} bytes")

    def wrap(self, *messages: bytes) -> bytes:
        lines = b"\n".join((*messages, b""))
        if lines.count(b"\n") == len(messages):
            return lines
        # A newline in JSON is whitespace, yet a peer that reads lines would stumble over it.
        return b"\n".join((*(message.replace(b"\n", b" ") for message in messages), b""))

    def _split(self, data: bytes, messages: list[bytes]) -> None:
        raise NotImplementedError

    def _complete_at_eof(self, held: bytes) -> bool:
        return False

    def _take(self, part: bytes) -> bytes:
        """Return the message that ``part`` completes."""
        self._check_size(len(part))
        if not self._held.tell():
            return part
        self._held.write(part)
        message, self._held = self._held.getvalue(), BytesIO()
        return message

    def _hold(self, part: bytes) -> None:
        self._check_size(len(part))
        self._held.write(part)

    def _check_size(self, more: int) -> None:
        if self._held.tell() + more > self._max_bytes:
            raise ProtocolError(f"a message is longer than {self._max_bytes} bytes")


class JSONStream(_Reader):
    """Any stream of JSON values."""

    _open: Container | Word | None = None
    _shape = b""  # the outline of the last message that came alone in its chunk

    def feed(self, data: bytes) -> list[bytes]:
        # The hot path: nothing held, and a batch of lines with one message each.
        if (
            self._open is None
            and data[-1:] == b"\n"
            and data[0] in b"{["
            and len(data) <= self._max_bytes
            and self._error is None
            and (lines := self._whole_lines(bytes(data))) is not None
        ):
            return lines
        return super().feed(data)

    def _whole_lines(self, data: bytes) -> list[bytes] | None:
        if data.find(b"\n") < len(data) - 1:
            return whole_lines(data, self._max_depth)
        if data[-2] not in b"}]":
            return None
        # One call after the other mostly has the same outline: what that says is known then.
        shape = outline(data)
        if shape != self._shape:
            if not is_one(shape, self._max_depth):
                return None
            if len(shape) <= MAX_SHAPE:
                self._shape = shape
        return [data[:-1]]

    def _split(self, data: bytes, messages: list[bytes]) -> None:
        pos = tried = 0
        newline = -1
        bulk = True  # many messages at one go: worth one try
        while True:
            if self._open is None:
                found = _NOT_SPACE.search(data, pos)
                if found is None:
                    return
                pos = found.start()
                end = -1
                if data[pos] in b"{[" and pos >= tried:
                    if bulk:
                        bulk = False
                        pos = self._take_many(data, pos, messages)
                        continue
                    if newline < pos:
                        newline = data.find(b"\n", pos)
                        newline = len(data) if newline < 0 else newline
                    tried = _guess_end(data, pos, newline)
                    end = tried if is_whole(data[pos:tried], self._max_depth) else -1
                if end < 0:
                    self._open = Container(self._max_depth) if data[pos] in b'{["' else Word()
            if self._open is not None:
                end = self._open.scan(data, pos, self._held)
                if end < 0:
                    self._hold(data[pos:])
                    return
            messages.append(self._take(data[pos:end]).rstrip(WHITESPACE))
            self._open = None
            pos = end

    def _take_many(self, data: bytes, pos: int, messages: list[bytes]) -> int:
        """Take all but the last of the messages from ``pos`` on, if they look simple enough.

        Return where the rest starts.
        """
        end = data.rfind(b"\n", pos) + 1
        text = data[pos:end]
        if not end:  # put a newline wherever two messages seem to meet
            text = data[pos:].replace(b"}{", b"}\n{")
            text = text[: text.rfind(b"\n") + 1]
        if len(text) > 1 and len(text) <= self._max_bytes:
            lines = whole_lines(text, self._max_depth)
            if lines is not None:
                messages += lines
                return end or pos + sum(map(len, lines))
        return pos

    def _complete_at_eof(self, held: bytes) -> bool:
        return isinstance(self._open, Word)


def _guess_end(data: bytes, pos: int, end: int) -> int:
    """Return where the message at ``pos`` probably ends: at ``}{``, or at the line's ``end``."""
    joint = data.find(b"}{", pos, end)
    if joint >= 0:
        return joint + 1
    while end > pos + 1 and data[end - 1] in b" \t\r":
        end -= 1
    return end


class NDJSON(_Reader):
    """One message a line. Empty lines are skipped; a carriage return at the end is dropped."""

    def _split(self, data: bytes, messages: list[bytes]) -> None:
        *lines, rest = data.split(b"\n")
        for line in lines:
            if message := self._take(line).strip(WHITESPACE):
                _check_depth(message, self._max_depth)
                messages.append(message)
        self._hold(rest)

    def _complete_at_eof(self, held: bytes) -> bool:
        return True


class ContentLength(_Reader):
    """Headers, an empty line, and as many bytes as ``Content-Length`` says."""

    _length: int | None = None  # of the message whose header has been read

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
            _check_depth(message, self._max_depth)
            messages.append(message)
            pos = end

    def _header(self, data: bytes, pos: int) -> int:
        """Read on in a header; return where its message, or the next chunk, starts."""
        known = self._held.tell()
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
    """Return the length that ``header`` gives. Raises ProtocolError."""
    lengths = []
    for line in header.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name, value = name.strip().lower(), value.strip()
        if not colon or not name:
            raise ProtocolError(f"not a header line: {line[:40]!r}")
        if name == b"content-length":
            lengths.append(value)
        elif name == b"content-type" and not _is_utf8(value):
            raise ProtocolError(f"only UTF-8 is spoken here, not {value[:80]!r}")
    if len(lengths) != 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise ProtocolError("a header needs exactly one Content-Length, a number of bytes")
    return int(lengths[0])


def _is_utf8(content_type: bytes) -> bool:
    charset = re.search(rb'charset\s*=\s*"?([^\s;"]+)', content_type, re.IGNORECASE)
    # "utf8" is what early language servers sent, and the LSP specification accepts it.
    return charset is None or charset[1].lower() in (b"utf-8", b"utf8")


class Auto(_Reader):
    """Waits for the first byte, then is a json-stream or content-length for good."""

    _chosen: _Reader | None = None

    @property
    def pending(self) -> int:
        return self._chosen.pending if self._chosen else 0

    @property
    def error(self) -> ProtocolError | None:
        return self._chosen.error if self._chosen else None

    def feed(self, data: bytes) -> list[bytes]:
        if self._chosen is None:
            data = bytes(data).lstrip(WHITESPACE)
            if not data:
                return []
            kind = ContentLength if data[0] in b"Cc" else JSONStream
            self._chosen = kind(self._max_bytes, self._max_depth)
        return self._chosen.feed(data)

    def eof(self) -> list[bytes]:
        return self._chosen.eof() if self._chosen else []

    def wrap(self, *messages: bytes) -> bytes:
        """As the peer writes; as a json-stream as long as it has written nothing."""
        return self._chosen.wrap(*messages) if self._chosen else super().wrap(*messages)


def _check_depth(message: bytes, max_depth: int) -> None:
    """Raise ProtocolError if ``message`` nests too deep. Costs two counts where it cannot."""
    if message.count(b"{") + message.count(b"[") > max_depth:
        reader = JSONStream(len(message), max_depth)
        reader.feed(message)
        if reader.error is not None:
            raise reader.error

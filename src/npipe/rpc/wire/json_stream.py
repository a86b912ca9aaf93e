"""Framings in which the text of a message delimits it: json-stream and ndjson.

Sans-I/O. Also ``Reader``, the base class of all framings. ``framing`` documents their interface;
``scanner`` finds the end of a message.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from io import BytesIO

from npipe.errors import ProtocolError, Truncated
from npipe.rpc.wire.scanner import (
    WHITESPACE,
    Container,
    Word,
    is_one,
    is_whole,
    outline,
    whole_lines,
)

__all__ = ["NDJSON", "JSONStream", "Reader", "check_json_depth", "mismatch"]

MAX_SHAPE = 256  # bytes of a remembered outline; that of a call has about 14

CheckDepth = Callable[[bytes, int], object]

_NOT_SPACE = re.compile(rb"[^ \t\r\n]")


class Reader:
    """Base class of framings: buffers a part of a message; an error is final."""

    def __init__(
        self, max_bytes: int, max_depth: int, check_depth: CheckDepth | None = None
    ) -> None:
        """Make a framing.

        Args:
            max_bytes: The largest size of a message, in bytes.
            max_depth: The largest nesting depth.
            check_depth: ``check_depth(message, max_depth)`` of the encoding, for framings that do
                not inspect messages. None: that of JSON.
        """
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._check_depth = check_depth or check_json_depth
        self._held = BytesIO()  # getvalue() does not copy the bytes
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

    def guess(self, data: bytes) -> list[bytes]:
        return []

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
        if len(messages) == 1 and messages[0].find(b"\n") < 0:  # the usual case
            return messages[0] + b"\n"
        lines = b"\n".join((*messages, b""))
        if lines.count(b"\n") == len(messages):
            return lines
        # A newline in JSON is whitespace, but a peer that reads lines would split there.
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


class JSONStream(Reader):
    """Any stream of JSON values."""

    def __init__(
        self, max_bytes: int, max_depth: int, check_depth: CheckDepth | None = None
    ) -> None:
        """Make a framing; see ``Reader``."""
        super().__init__(max_bytes, max_depth, check_depth)
        self._open: Container | Word | None = None
        self._begun = False  # a message, or a part of one, was received
        self._shape = b""  # the outline of the last message that was alone in its chunk

    def guess(self, data: bytes) -> list[bytes]:
        if self._open is not None or self._error is not None or data[-1:] != b"\n":
            return []
        # Text of n bytes nests at most n / 2 deep, so a short line cannot exceed the depth limit.
        short = min(self._max_bytes, 2 * self._max_depth)
        if data.find(b"\n") == len(data) - 1:
            return [data[:-1]] if len(data) <= short or self._is_flat(data) else []
        lines = data.split(b"\n")
        lines.pop()
        return lines if max(map(len, lines)) <= short else []

    def _is_flat(self, data: bytes) -> bool:
        """Tell whether a text has too few brackets to exceed the depth limit: most batches have."""
        return (
            len(data) <= self._max_bytes and data.count(b"{") + data.count(b"[") <= self._max_depth
        )

    def feed(self, data: bytes) -> list[bytes]:
        # The hot path: no buffered bytes, and lines with one message each.
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
        # Successive calls usually have the same outline, which was checked before.
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
        bulk = True  # try once to take many messages together
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
                if end < 0 and data[pos] in b'{["':
                    self._open = Container(self._max_depth)
                elif end < 0:
                    if not (messages or self._begun or self._shape):
                        check_start(data[pos])
                    self._open = Word()
            if self._open is not None:
                end = self._open.scan(data, pos, self._held)
                self._begun = True
                if end < 0:
                    self._hold(data[pos:])
                    return
            messages.append(self._take(data[pos:end]).rstrip(WHITESPACE))
            self._open = None
            pos = end

    def _take_many(self, data: bytes, pos: int, messages: list[bytes]) -> int:
        """Take all but the last of the messages from ``pos`` on, if they have a simple structure.

        Return the position of the rest.
        """
        end = data.rfind(b"\n", pos) + 1
        if end:
            text = data[pos:end]
        else:  # put a newline wherever two messages seem to meet
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
    """Return the probable end of the message at ``pos``: at ``}{``, or at the line's ``end``."""
    joint = data.find(b"}{", pos, end)
    if joint >= 0:
        return joint + 1
    while end > pos + 1 and data[end - 1] in b" \t\r":
        end -= 1
    return end


class NDJSON(Reader):
    """One message per line. Empty lines are skipped; a carriage return at the end is dropped."""

    def __init__(
        self, max_bytes: int, max_depth: int, check_depth: CheckDepth | None = None
    ) -> None:
        """Make a framing; see ``Reader``."""
        super().__init__(max_bytes, max_depth, check_depth)
        self._begun = False

    def _split(self, data: bytes, messages: list[bytes]) -> None:
        if not self._begun and data:
            self._begun = True
            check_start(data[0])
        *lines, rest = data.split(b"\n")
        for line in lines:
            if message := self._take(line).strip(WHITESPACE):
                self._check_depth(message, self._max_depth)
                messages.append(message)
        self._hold(rest)

    def _complete_at_eof(self, held: bytes) -> bool:
        return True


def check_json_depth(message: bytes, max_depth: int) -> None:
    """Raise ProtocolError if ``message`` nests too deep.

    Usually two counts suffice to exclude it.
    """
    if message.count(b"{") + message.count(b"[") > max_depth:
        reader = JSONStream(len(message), max_depth)
        reader.feed(message)
        if reader.error is not None:
            raise reader.error


def check_start(byte: int) -> None:
    """Raise ProtocolError if a JSON stream begins like another framing.

    No later message could be read then, and the peer would wait for a reply for ever.
    """
    if byte in b"Cc":
        raise mismatch("headers (content-length)", "JSON without headers")
    if byte == 0 or 0x80 <= byte <= 0x9F:
        raise mismatch("a binary encoding", "JSON")


def mismatch(sent: str, expected: str) -> ProtocolError:
    """Return the error for a peer that uses another framing."""
    return ProtocolError(
        f"the peer sends {sent}, and {expected} is expected here: use the same codec at both ends"
    )

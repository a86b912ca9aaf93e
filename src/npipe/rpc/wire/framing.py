"""Framing: split a stream of bytes into messages, and join messages to a stream. Sans-I/O.

A framing also enforces the limits on the bytes buffered for a peer. It does not decode messages.

================  ===========================================================================
json-stream       any stream of JSON values, in any chunks, with or without newlines between
ndjson            one message per line, nothing else (MCP)
content-length    a header with the length before each message (LSP, DAP)
auto              json-stream or content-length, detected by the first byte
================  ===========================================================================

Text that is not JSON is returned as a message too, so that its sender receives an error reply
(-32700) and the connection stays open. A json-stream resynchronizes at newlines:

* ``{...}``, ``[...]`` and ``"..."`` end at their closing bracket or quote, valid JSON or not;
* they end early at a newline that JSON does not allow there (see ``scanner``);
* a number, ``true``, ``false``, ``null`` ends before whitespace, a quote or an opening bracket;
* any other text is one message up to the end of its line.

A message that is too long or too deep, or a wrong header, cannot be recovered from: the framing
raises ProtocolError, and the connection ends.
"""

from __future__ import annotations

from typing import Protocol

from npipe.errors import ProtocolError
from npipe.rpc.limits import MAX_BYTES, MAX_DEPTH
from npipe.rpc.wire.content_length import ContentLength
from npipe.rpc.wire.json_stream import NDJSON, CheckDepth, JSONStream, Reader
from npipe.rpc.wire.scanner import WHITESPACE

__all__ = ["Framing", "make"]


class Framing(Protocol):
    """The framing of one connection: splits received bytes, and frames messages to be sent.

    Args:
        args: The positional arguments of an implementation: the largest size of a message in
            bytes, its largest depth, and ``check_depth``.
        kwargs: None are passed.
    """

    def feed(self, data: bytes) -> list[bytes]:
        """Add received bytes and return the messages that they complete.

        Args:
            data: The received bytes.

        Returns:
            The complete messages, without framing.

        Raises:
            ProtocolError: The peer has exceeded a limit or sent a wrong header. Messages that were
                complete before are returned first; then ``error`` is set and the next call raises.
        """

    def guess(self, data: bytes) -> list[bytes]:
        """Split ``data`` at newlines if each line is probably one message, within all limits.

        The caller parses the lines in order. A line that is valid JSON is one message, so no scan
        is needed. The caller must pass to ``feed`` the first line that is not valid, or that it
        does not parse now, with all lines after it. The framing keeps no state of this call.

        Args:
            data: The received bytes.

        Returns:
            Lines without their newline; empty if ``data`` must be passed to ``feed``.
        """

    def eof(self) -> list[bytes]:
        """Mark the end of input.

        Returns:
            A last message that is complete only because of the end of input; otherwise empty.

        Raises:
            Truncated: The input ended within a message.
            ProtocolError: An error that ``feed`` had still to raise.
        """

    def wrap(self, *messages: bytes) -> bytes:
        """Frame messages for sending.

        Args:
            messages: The encoded messages.

        Returns:
            The bytes to send.
        """

    @property
    def pending(self) -> int:
        """The number of bytes buffered for an incomplete message."""

    @property
    def error(self) -> ProtocolError | None:
        """The protocol error of the peer. Once it is set, no more messages can be read."""


def make(name: str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Framing:
    """Make a JSON framing.

    Args:
        name: "json-stream", "ndjson", "content-length" or "auto".
        max_bytes: The largest size of a message, in bytes.
        max_depth: The largest nesting depth of brackets.

    Returns:
        The framing.

    Raises:
        ValueError: No framing has this name.
    """
    kinds: dict[str, type[Reader]] = {
        "json-stream": JSONStream,
        "ndjson": NDJSON,
        "content-length": ContentLength,
        "auto": Auto,
    }
    if name not in kinds:
        raise ValueError(f"unknown framing {name!r}: choose one of {', '.join(kinds)}")
    return kinds[name](max_bytes, max_depth)


class Auto(Reader):
    """Framing that the first received byte selects: json-stream or content-length."""

    def __init__(
        self, max_bytes: int, max_depth: int, check_depth: CheckDepth | None = None
    ) -> None:
        """Make a framing; see ``Reader``."""
        super().__init__(max_bytes, max_depth, check_depth)
        self._chosen: Reader | None = None

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

    def guess(self, data: bytes) -> list[bytes]:
        return self._chosen.guess(data) if self._chosen else []

    def eof(self) -> list[bytes]:
        return self._chosen.eof() if self._chosen else []

    def wrap(self, *messages: bytes) -> bytes:
        """Frame messages in the detected framing; as a json-stream before any byte was received."""
        return self._chosen.wrap(*messages) if self._chosen else super().wrap(*messages)

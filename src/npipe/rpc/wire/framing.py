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

from typing import Protocol

from npipe.errors import ProtocolError
from npipe.rpc.wire.content_length import ContentLength
from npipe.rpc.wire.json_stream import NDJSON, JSONStream, Reader
from npipe.rpc.wire.scanner import WHITESPACE

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Framing", "make"]

MAX_BYTES = 32 * 1024 * 1024  # the largest geth block traces seen are about 20 MB
MAX_DEPTH = 512  # half of what exhausts msgspec's recursion


class Framing(Protocol):
    """One direction of reading and the matching way of writing, for one connection."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; return the messages that it completes, without the framing.

        Raises ProtocolError when the peer breaks a limit. Messages that were complete before
        the offence are returned first: then ``error`` is set, and the next call raises it.
        """

    def guess(self, data: bytes) -> list[bytes]:
        """Return the lines of ``data`` if each probably is one message, within every limit.

        The caller parses them in order. A line that is JSON is one message: what separates messages
        is known then without a scan. From the first line that is none, or that the caller does
        not want to parse now, it has to ``feed`` everything. Nothing is kept here.

        Returns:
            Lines without their newline; empty where ``data`` has to be fed.
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
    kinds: dict[str, type[Reader]] = {
        "json-stream": JSONStream,
        "ndjson": NDJSON,
        "content-length": ContentLength,
        "auto": Auto,
    }
    if name not in kinds:
        raise ValueError(f"no framing is called {name!r}; there are {', '.join(kinds)}")
    return kinds[name](max_bytes, max_depth)


class Auto(Reader):
    """Waits for the first byte, then is a json-stream or content-length for good."""

    _chosen: Reader | None = None

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
        """As the peer writes; as a json-stream as long as it has written nothing."""
        return self._chosen.wrap(*messages) if self._chosen else super().wrap(*messages)

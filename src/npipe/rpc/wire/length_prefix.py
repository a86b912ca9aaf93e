"""Framing of binary encodings: the length of each message in four bytes before it. Sans-I/O.

The length is a big-endian number, as in ``LengthHeaderMessageHandler`` of StreamJsonRpc.
"""

from __future__ import annotations

from npipe.errors import ProtocolError
from npipe.rpc.wire.json_stream import CheckDepth, Reader, mismatch

__all__ = ["LengthPrefix"]

PREFIX = 4  # bytes


class LengthPrefix(Reader):
    """A length in four bytes, and that number of bytes."""

    def __init__(
        self, max_bytes: int, max_depth: int, check_depth: CheckDepth | None = None
    ) -> None:
        """Make a framing; see ``Reader``."""
        super().__init__(max_bytes, max_depth, check_depth)
        self._length = -1  # of the message whose prefix has been read

    @property
    def pending(self) -> int:
        return self._held.tell() + (PREFIX if self._length >= 0 else 0)

    def wrap(self, *messages: bytes) -> bytes:
        parts = (len(message).to_bytes(PREFIX, "big") + message for message in messages)
        return b"".join(parts)

    def _split(self, data: bytes, messages: list[bytes]) -> None:
        pos = 0
        while pos < len(data):
            size = PREFIX if self._length < 0 else self._length
            end = pos + size - self._held.tell()
            if end > len(data):
                self._held.write(data[pos:])
                return
            part = self._take(data[pos:end])
            pos = end
            if self._length < 0:
                self._length = self._checked_length(part)
            else:
                self._length = -1
                self._check_depth(part, self._max_depth)
                messages.append(part)

    def _checked_length(self, prefix: bytes) -> int:
        length = int.from_bytes(prefix, "big")
        if length > self._max_bytes:
            if prefix.isascii() and prefix.decode().isprintable():
                raise mismatch(f"text ({prefix!r})", "a length in four bytes")
            raise ProtocolError(f"a message is longer than {self._max_bytes} bytes")
        if length == 0:
            raise ProtocolError("a message has the length 0")
        return length

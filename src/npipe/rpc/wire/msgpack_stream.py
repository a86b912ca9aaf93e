"""Framing of MessagePack-RPC: a stream of MessagePack values. Sans-I/O.

The end of a value is found by reading the heads of its parts, each once, regardless of the chunks.
Most reads return exactly one message, which msgspec recognizes faster.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from npipe.errors import ProtocolError
from npipe.rpc.wire.json_stream import CheckDepth, Reader, mismatch

__all__ = ["MessagePackStream", "check_depth", "with_bytes"]

# By first byte: the size of the head, the size of the length at its end, and the unit of that
# length: 0 none, 1 bytes, 2 items of an array, 3 pairs of a map. See the formats in the
# specification: https://github.com/msgpack/msgpack/blob/master/spec.md
_BYTES, _ITEMS, _PAIRS = 1, 2, 3
_HEADS: dict[int, tuple[int, int, int]] = {
    **dict.fromkeys((192, 194, 195), (1, 0, 0)),
    **{0xC4 + n: (1 + (1 << n), 1 << n, _BYTES) for n in range(3)},  # bin
    **{0xC7 + n: (1 + (1 << n), 1 << n, _BYTES) for n in range(3)},  # ext: one more for its type
    **{0xD9 + n: (1 + (1 << n), 1 << n, _BYTES) for n in range(3)},  # str
    **{0xDC + n: (1 + (2 << n), 2 << n, _ITEMS) for n in range(2)},
    **{0xDE + n: (1 + (2 << n), 2 << n, _PAIRS) for n in range(2)},
}
_FIXED = {  # whole values: float, uint, int, fixext
    **dict(zip(range(0xCA, 0xD4), (5, 9, 2, 3, 5, 9, 2, 3, 5, 9), strict=True)),
    **{0xD4 + n: 2 + (1 << n) for n in range(5)},
}
_EXT = (0xC7, 0xC8, 0xC9)

_is_one_array = msgspec.msgpack.Decoder(list[Raw]).decode
_is_one_map = msgspec.msgpack.Decoder(dict[str, Raw]).decode
_CONTAINERS = bytes((*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF))
_NOT_CONTAINERS = bytes(set(range(256)) - set(_CONTAINERS))


class MessagePackStream(Reader):
    """Any stream of MessagePack arrays and maps."""

    def __init__(
        self, max_bytes: int, max_depth: int, check_depth: CheckDepth | None = None
    ) -> None:
        """Make a framing; see ``Reader``."""
        super().__init__(max_bytes, max_depth, check_depth)
        self._scan: _Scan | None = None  # of the partially buffered message

    def wrap(self, *messages: bytes) -> bytes:
        return messages[0] if len(messages) == 1 else b"".join(messages)

    def _split(self, data: bytes, messages: list[bytes]) -> None:
        if self._scan is None and self._is_whole(data):
            messages.append(data)
            return
        pos = 0
        while pos < len(data):
            if self._scan is None:
                _check_first(data[pos])
                self._scan = _Scan(self._max_depth)
            end = self._scan.scan(data, pos)
            if end < 0:
                self._hold(data[pos:])
                return
            messages.append(self._take(data[pos:end]))
            self._scan = None
            pos = end

    def _is_whole(self, data: bytes) -> bool:
        """Tell whether ``data`` is exactly one message. False may also mean: scan it."""
        if not data or len(data) > self._max_bytes:
            return False
        if len(data.translate(None, _NOT_CONTAINERS)) > self._max_depth:
            return False
        try:
            if 0x90 <= data[0] <= 0x9F or data[0] in (0xDC, 0xDD):
                _is_one_array(data)
            else:
                _is_one_map(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        return True


def _check_first(byte: int) -> None:
    if not (0x80 <= byte <= 0x9F or 0xDC <= byte <= 0xDF):
        sent = {
            ord("{"): "JSON",
            ord("["): "JSON",
            ord("C"): "headers (content-length)",
            0: "lengths",
        }
        raise mismatch(sent.get(byte, f"the byte {byte:#04x}"), "an array or a map of MessagePack")


class _Scan:
    """Finds the end of one value, chunk by chunk."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._open = [1]  # the number of missing values of each open container
        self._skip = 0  # the number of missing bytes of a string
        self._head = b""  # the first bytes of a head that is split over two chunks

    def scan(self, data: bytes, pos: int) -> int:
        """Return the end of the value in ``data``, or -1 if it continues. Raises ProtocolError."""
        while True:
            if self._skip:
                step = min(self._skip, len(data) - pos)
                self._skip -= step
                pos += step
                if self._skip:
                    return -1
            while self._open and not self._open[-1]:
                self._open.pop()
            if not self._open:
                return pos
            if pos == len(data):
                return -1
            pos = self._value(data, pos)
            if pos < 0:
                return -1

    def _value(self, data: bytes, pos: int) -> int:
        """Read the head of a value; return the start of its content, or -1."""
        first = self._head[0] if self._head else data[pos]
        if first < 0x80 or first >= 0xE0:
            self._open[-1] -= 1
            return pos + 1
        if first < 0xC0:
            self._open[-1] -= 1
            if first >= 0xA0:
                self._skip = first & 31
            else:
                self._enter((first & 15) * (2 if first < 0x90 else 1))
            return pos + 1
        if first in _FIXED:
            self._open[-1] -= 1
            self._skip = _FIXED[first]
            return pos
        if first not in _HEADS:
            raise ProtocolError(f"no value of MessagePack begins with the byte {first:#04x}")
        size, length_size, counts = _HEADS[first]
        end = pos + size - len(self._head)
        head = self._head + data[pos:end]
        if len(head) < size:
            self._head = head
            return -1
        self._head = b""
        self._open[-1] -= 1
        length = int.from_bytes(head[size - length_size :], "big") if length_size else 0
        if counts == _BYTES:
            self._skip = length + (first in _EXT)
        elif counts:
            self._enter(length * (2 if counts == _PAIRS else 1))
        return end

    def _enter(self, values: int) -> None:
        self._open.append(values)
        if len(self._open) > self._max_depth + 1:
            raise ProtocolError(f"a message nests deeper than {self._max_depth}")


def check_depth(message: bytes, max_depth: int) -> None:
    """Raise ProtocolError if ``message`` nests too deep.

    Usually one count suffices to exclude it.
    """
    if len(message.translate(None, _NOT_CONTAINERS)) > max_depth:
        _Scan(max_depth).scan(message, 0)


def with_bytes(data: bytes) -> bytes:
    """Return ``data`` with each string that is not UTF-8 marked as bytes.

    Neovim sends bytes as strings: lines of a file in another encoding, and blobs.
    """
    parts: list[bytes] = []
    pos = copied = 0
    while pos < len(data):
        first = data[pos]
        start, size = _content(data, pos)
        if 0xA0 <= first <= 0xBF or 0xD9 <= first <= 0xDB:
            text = data[start : start + size]
            if not _is_utf8(text):
                parts += data[copied:pos], b"\xc6" + size.to_bytes(4, "big"), text
                copied = start + size
        pos = start + size
    return b"".join((*parts, data[copied:]))


def _content(data: bytes, pos: int) -> tuple[int, int]:
    """Return the start and the number of the bytes of a value; none for a container."""
    first = data[pos]
    if 0xA0 <= first <= 0xBF:
        return pos + 1, first & 31
    if first in _FIXED:
        return pos, _FIXED[first]
    size, length_size, counts = _HEADS.get(first, (1, 0, 0))
    length = int.from_bytes(data[pos + 1 : pos + 1 + length_size], "big")
    return pos + size, length + (first in _EXT) if counts == _BYTES else 0


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True

r"""Scanner: finds the end of a JSON message by its brackets, strings and newlines. Sans-I/O.

A scanner receives a message in chunks and reads each byte once: no byte is scanned again when more
arrive. It does not validate. It never splits a valid JSON stream at a wrong position, and ends an
invalid message at a newline that no JSON value can contain:

* a newline inside a string, where JSON requires ``\n``;
* a newline between the end of a value and the start of another, where JSON requires a comma.

Both depend only on the bytes around the newline, not on the chunks.

For speed it uses ``bytes`` methods that run in C. A block is reduced to its *outline*: quotes and
brackets, with ``[]`` folded to ``{}``, and without escapes and empty pairs. Usually the outline
shows at once that the message cannot end in the block. Otherwise the block is halved, and the last
128 bytes are scanned token by token.
"""

from __future__ import annotations

import re
from io import BytesIO
from itertools import accumulate

from npipe.errors import ProtocolError

__all__ = ["WHITESPACE", "Container", "Word", "is_one", "is_whole", "outline", "whole_lines"]

WHITESPACE = b" \t\r\n"  # of JSON; bytes.strip() would also remove \v and \f

_FOLD = bytes.maketrans(b"[]", b"{}")
_NOT_OUTLINE = bytes(set(range(256)) - set(b'"{}[]'))
_NOT_OUTLINE_OR_NEWLINE = bytes(set(_NOT_OUTLINE) - set(b"\n"))
_STEP = [0] * 256
_STEP[ord("{")], _STEP[ord("}")] = 1, -1

_ALNUM = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ENDS_VALUE = frozenset(b'}]"' + _ALNUM)
_STARTS_VALUE = frozenset(b'{["-' + _ALNUM)

_TOKEN = re.compile(rb'\\["\\]?|["{}\[\]]')
_NOT_SPACE = re.compile(rb"[^ \t\r\n]")
_WORD_END = re.compile(rb'[ \t\r\n{\["]')
_SCALAR = re.compile(rb"true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")

_SMALLEST, _LARGEST = 128, 65536  # bytes of a block: below, tokens are faster; above, no gain
_PASSES = 8  # pairs of brackets cancelled before counting one by one: real data needs 3 or 4


def outline(block: bytes, *, keep_newlines: bool = False) -> bytes:
    """Return the quotes and brackets of ``block``, without escaped quotes."""
    if block.find(b"\\") >= 0:  # ``in`` takes three times as long
        block = block.replace(b"\\\\", b"").replace(b'\\"', b"")
    return block.translate(_FOLD, _NOT_OUTLINE_OR_NEWLINE if keep_newlines else _NOT_OUTLINE)


def _cancels(rest: bytes, left: int = 0) -> bool:
    """Tell whether removing pairs leaves just ``left`` bytes (the newlines of many lines).

    If so, every bracket outside strings has its partner outside strings: all bytes between the two
    were removed, quotes in pairs, so that both are on the same side of a string's border.
    """
    for _ in range(_PASSES):
        rest = rest.replace(b'""', b"").replace(b"{}", b"")
        if len(rest) == left:
            return True
    return False


def is_whole(text: bytes, max_depth: int) -> bool:
    """Tell whether ``text``, which starts with a bracket and has no newline, is one message.

    False may also mean: scan it with a ``Container``.
    """
    return len(text) > 1 and text[-1] in b"}]" and is_one(outline(text), max_depth)


def is_one(shape: bytes, max_depth: int) -> bool:
    """Tell the same from the outline of a text whose first and last byte are brackets."""
    if max_depth <= _PASSES:
        return False
    # The outer pair is removed separately: "{}{}" would cancel too.
    inner = shape[1:-1].replace(b'""', b"")
    if b'"' in inner:  # there are brackets in strings
        if inner.count(b'"') % 2:
            return False
        inner = _outside_strings(inner)
    return not inner or _cancels(inner)


def whole_lines(data: bytes, max_depth: int) -> list[bytes] | None:
    """Return the lines of ``data`` if each is exactly one message in brackets, all at once.

    None means: some may not be, so scan it. ``data`` starts with a bracket and ends with a newline.
    """
    lines = data.count(b"\n")
    if lines == 1:
        text = data[:-1]
        return [text] if is_whole(text, max_depth) else None
    if data.count(b"}\n{") != lines - 1 or data[-2] != ord("}") or max_depth <= _PASSES:
        return None
    inner = outline(data, keep_newlines=True).replace(b"}\n{", b"\n")[1:-2]
    return data[:-1].split(b"\n") if _cancels(inner, lines - 1) else None


def _outside_strings(rest: bytes) -> bytes:
    return b"".join(rest.split(b'"')[::2])


def _extent(brackets: bytes) -> tuple[int, int]:
    """Return the lowest and highest depth relative to the start; the latter up to 8 too high."""
    for done in range(_PASSES):
        shorter = brackets.replace(b"{}", b"")
        if len(shorter) == len(brackets):  # only }}}{{{ is left
            closes = brackets.count(b"}")
            return -closes, max(0, len(brackets) - 2 * closes) + done
        brackets = shorter
    levels = list(accumulate(map(_STEP.__getitem__, brackets), initial=0))  # the start counts too
    return min(levels), max(levels) + _PASSES


class Container:
    """One message that starts with a bracket or a quote."""

    def __init__(self, max_depth: int) -> None:
        self._max_depth = max_depth
        self._depth = -1  # the first byte was not scanned yet
        self._in_string = False
        self._escape = False  # the last chunk ended with a backslash
        self._newline = False  # the last chunk ended with a newline that may break the message
        self._last = 0  # the last byte seen that is not whitespace

    def scan(self, data: bytes, start: int, held: BytesIO) -> int:
        """Return the end of the message in ``data``, or -1 if it continues in the next chunk.

        ``start`` is the position in ``data`` of the message or its next part. ``held`` contains the
        bytes before it (for Word). Raises ProtocolError when brackets nest too deep.
        """
        pos = start
        if self._depth < 0:
            self._in_string = data[pos] == ord('"')
            self._depth = 0 if self._in_string else 1
            pos += 1
        if self._escape and pos < len(data):
            self._escape = False
            pos += data[pos] in b'\\"'
        if self._newline:
            pos = self._after_newline(data, pos)
            if pos < 0:
                return pos
            if not self._newline:
                return start  # invalid: the message ended before this chunk
            self._newline = False
        end = self._walk(data, start, pos)
        if end < 0 and (text := data[start:].rstrip(WHITESPACE)):
            self._last = text[-1]
        return end

    def _walk(self, data: bytes, start: int, pos: int) -> int:
        size, growing = _SMALLEST, True
        while pos < len(data):
            stop = data.find(b"\n", pos, pos + size)
            if stop == pos:
                if self._in_string:
                    return pos
                self._last = self._before(data, start, pos)
                self._newline = True
                after = self._after_newline(data, pos + 1)
                if after < 0:
                    return after
                if not self._newline:
                    return pos
                self._newline = False
                pos = after
                continue
            block = data[pos : stop if stop >= 0 else pos + size]
            if block[-1] == ord("\\") and (len(block) - len(block.rstrip(b"\\"))) % 2:
                block = block[:-1]  # an escape must not be split
                if not block:
                    pos += 1
                    self._escape = pos == len(data)
                    continue
            if self._skip(block):
                size = min(size * 4, _LARGEST) if growing else max(size // 2, _SMALLEST)
            elif len(block) > _SMALLEST:
                size, growing = max(len(block) // 2, _SMALLEST), False
                continue
            else:
                end = self._tokens(data, pos, pos + len(block))
                if end >= 0:
                    return end
                size, growing = _SMALLEST, True
            pos += len(block)
        return -1

    def _skip(self, block: bytes) -> bool:
        """Skip ``block`` if the message surely neither ends nor nests too deep in it."""
        rest = outline(block)
        if self._in_string:
            rest = b'"' + rest
        rest = rest.replace(b'""', b"")
        quotes = rest.count(b'"')
        if quotes:
            rest = _outside_strings(rest)
        opens = rest.count(b"{")
        closes = len(rest) - opens
        if closes >= self._depth or self._depth + opens > self._max_depth:
            low, high = _extent(rest)
            if self._depth + low <= 0 or self._depth + high > self._max_depth:
                return False
        self._depth += opens - closes
        self._in_string = quotes % 2 == 1
        return True

    def _tokens(self, data: bytes, pos: int, stop: int) -> int:
        """Scan ``data[pos:stop]`` by tokens; return the end of the message, or -1."""
        for token in _TOKEN.finditer(data, pos, stop):
            byte = data[token.start()]
            if byte == ord("\\"):
                continue
            if byte == ord('"'):
                self._in_string = not self._in_string
            elif self._in_string:
                continue
            elif byte in b"{[":
                self._depth += 1
                if self._depth > self._max_depth:
                    raise ProtocolError(f"a message nests deeper than {self._max_depth}")
                continue
            else:
                self._depth -= 1
            if self._depth == 0 and not self._in_string:
                return token.end()
        return -1

    def _before(self, data: bytes, start: int, pos: int) -> int:
        while pos > start:
            pos -= 1
            if data[pos] not in WHITESPACE:
                return data[pos]
        return self._last

    def _after_newline(self, data: bytes, pos: int) -> int:
        """Return the position of the next text, or -1.

        ``_newline`` becomes False if the message ended.
        """
        found = _NOT_SPACE.search(data, pos)
        if found is None:
            return -1
        pos = found.start()
        self._newline = not (self._last in _ENDS_VALUE and data[pos] in _STARTS_VALUE)
        return pos


class Word:
    """One message that starts with neither bracket nor quote: a number, a literal, or invalid text.

    A JSON scalar ends before whitespace, a quote or an opening bracket. Any other text ends at the
    end of its line.
    """

    def __init__(self) -> None:
        self._garbage = False

    def scan(self, data: bytes, start: int, held: BytesIO) -> int:
        """See ``Container.scan``."""
        pos = start
        if not self._garbage:
            found = _WORD_END.search(data, start)
            if found is None:
                return -1
            pos = found.start()
            if _SCALAR.fullmatch(held.getvalue() + data[start:pos]):
                return pos
            self._garbage = True
        return data.find(b"\n", pos)

"""Streams of messages, and how a framing splits them."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from npipe.errors import ProtocolError
from npipe.rpc.wire import framing

SPACES = st.text(" \t\r\n", max_size=3)
TRICKY = st.text('{}[]"\\\n\u00e9a,: ', max_size=12)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS | TRICKY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TRICKY, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """JSON values as different programs write them, one after the other."""
    parts = []
    for value in draw(st.lists(VALUES, max_size=8)):
        text = json.dumps(
            value,
            indent=draw(st.sampled_from([None, None, 0, 2])),
            separators=draw(st.sampled_from([None, (",", ":"), (" ,\r\n", " :\t")])),
            ensure_ascii=draw(st.booleans()),
        )
        parts.append(draw(SPACES) + text)
        # A number or a literal has no end of its own.
        bare = text[-1] not in '}]"'
        parts.append(draw(st.sampled_from([" ", "\n", "\r\n"]) if bare else SPACES))
    return "".join(parts).encode()


def feed_all(kind: str, chunks: list[bytes], **limits: int) -> list[bytes]:
    """Feed everything and the end; an error ends the list with its type's name."""
    reader = framing.make(kind, **limits)
    messages: list[bytes] = []
    try:
        for chunk in chunks:
            messages += reader.feed(chunk)
        messages += reader.eof()
    except ProtocolError as error:
        messages.append(type(error).__name__.encode())
    return messages


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, sizes = [], sizes or [1]
    i = 0
    while data:
        size = sizes[i % len(sizes)]
        chunks.append(data[:size])
        data, i = data[size:], i + 1
    return chunks


SIZES = st.lists(st.integers(1, 40), max_size=5)

PIECES = [
    *[b"{", b"}", b"[", b"]", b'"', b"\\", b"\n", b" ", b",", b":", b"1", b"a", b"\r\n", b"true"],
    *[b"{}", b"}\n{", b'\\"', b'"}{"', b'{"a":"\\\\"}\n', b"}{", b"\\\n", b"\xff", b"[1]\n"],
    *[b" " * 130, b"x" * 300, b"{" * 12, b"}" * 12, b'"",' * 100, b"\\" * 129],
]
NOISE = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)

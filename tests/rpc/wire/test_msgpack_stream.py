"""Where a MessagePack value ends, in any chunks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npipe.errors import ProtocolError, Truncated
from npipe.rpc.wire.msgpack_stream import MessagePackStream, check_depth, with_bytes

encode = msgspec.msgpack.encode
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=12,
)
MESSAGES = st.lists(st.lists(VALUES, max_size=4) | st.dictionaries(st.text(), VALUES, max_size=4))


def stream(max_bytes: int = 1 << 20, max_depth: int = 50) -> MessagePackStream:
    return MessagePackStream(max_bytes, max_depth)


@settings(max_examples=60)
@given(MESSAGES, st.lists(st.integers(1, 40), min_size=1))
def test_any_chunks_give_the_messages(values: list[Any], sizes: list[int]) -> None:
    texts = [encode(value) for value in values]
    data, reader, found = b"".join(texts), stream(), []
    at = 0
    while data:
        size, at = sizes[at % len(sizes)], at + 1
        found += reader.feed(data[:size])
        data = data[size:]
    assert found == texts
    assert (reader.pending, reader.eof()) == (0, [])
    assert stream().feed(b"".join(texts)) == texts


@pytest.mark.parametrize(
    "value",
    [
        [2**32, -(2**31), 2**63, -1, 2**16, 1.5],
        ["x" * 31, "x" * 32, "x" * 256, "x" * 70_000],
        [b"x" * 255, b"x" * 256, b"x" * 70_000],
        [msgspec.msgpack.Ext(1, b"x" * size) for size in (1, 2, 4, 8, 16, 17, 300, 70_000)],
        list(range(20)),
        [[0] * 70_000],
        {str(n): n for n in range(70_000)},
    ],
)
def test_each_kind_of_head(value: Any) -> None:
    data, reader = encode(value), stream()
    assert reader.feed(data[:-1]) == []
    assert reader.feed(data[-1:]) == [data]
    slow, found = stream(), []
    for at in range(min(len(data), 2000)):
        found += slow.feed(data[at : at + 1])
    found += slow.feed(data[2000:]) if len(data) > 2000 else []
    assert found == [data]


def test_a_part_of_a_message_at_the_end_is_an_error() -> None:
    reader = stream()
    assert reader.feed(b"\x92\x01") == []
    assert reader.pending == 2
    with pytest.raises(Truncated):
        reader.eof()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"{}", "the peer sends JSON"),
        (b"Content-Length: 2", "the peer sends headers"),
        (b"\x00\x00\x00\x05", "the peer sends lengths"),
        (b"\x05", "the byte 0x05"),
        (b"\x91\xc1", "no value of MessagePack begins"),
        (b"\x91" * 60 + b"\x01", "nests deeper than 50"),
        (b"\x91" * 55, "nests deeper than 50"),
        (b"\x91\xc6\x00\xff\xff\xff" + b"x" * 2_000_000, "longer than 1048576 bytes"),
    ],
)
def test_what_cannot_be_read_ends_it(data: bytes, text: str) -> None:
    reader = stream()
    with pytest.raises(ProtocolError, match=text):
        reader.feed(data)
    with pytest.raises(ProtocolError, match=text):
        reader.feed(b"\x90")


def test_messages_before_an_offence_are_returned() -> None:
    reader = stream()
    assert reader.feed(b"\x90\x91\x01{") == [b"\x90", b"\x91\x01"]
    assert reader.error is not None


def test_depth_is_counted_only_where_it_may_be_too_deep() -> None:
    check_depth(b"\x91" * 20 + b"\x01", 20)
    check_depth(encode(["\x90" * 100]), 20)  # bytes of text that look like arrays
    with pytest.raises(ProtocolError):
        check_depth(b"\x91" * 22 + b"\x01", 20)


@settings(max_examples=60)
@given(VALUES)
def test_text_is_left_as_it_is(value: Any) -> None:
    assert with_bytes(encode(value)) == encode(value)


def test_a_string_that_is_not_utf8_comes_as_bytes() -> None:
    data = b"\x93\xa2\x00\xff\xa1x\xd9\x03\xff\xfea"
    assert msgspec.msgpack.decode(with_bytes(data)) == [b"\x00\xff", "x", b"\xff\xfea"]

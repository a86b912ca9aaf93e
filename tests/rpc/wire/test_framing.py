"""What holds for every framing: chunks, limits, and what is wrapped is read back."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from npipe.errors import ProtocolError
from npipe.rpc.wire import framing
from rpc.wire.streams import NOISE, SIZES, VALUES, cut, feed_all, streams


@given(NOISE | streams() | st.binary(max_size=60), SIZES)
@settings(max_examples=300)
@example(b'{"a":1\n{"b":2}\n', [1])
@example(b'{"a\n{"b":2}\n', [1])
@example(b"{}}\n{}\n", [1])
@example(b"{},{}\n{}\n", [1])
@example(b'{"\\\n{}\n', [1])
@example(b'""[{{{{{{{{]]]]]]]]', [1])  # a string, then garbage: the string is a message
@pytest.mark.parametrize("kind", ["json-stream", "ndjson", "content-length", "auto"])
def test_chunks_make_no_difference(kind: str, stream: bytes, sizes: list[int]) -> None:
    at_once = feed_all(kind, [stream], max_depth=20)
    assert feed_all(kind, cut(stream, [1]), max_depth=20) == at_once
    assert feed_all(kind, cut(stream, sizes), max_depth=20) == at_once


@pytest.mark.parametrize("kind", ["json-stream", "ndjson", "content-length", "auto"])
@given(st.lists(VALUES.map(lambda value: json.dumps(value).encode()), max_size=5))
def test_what_is_wrapped_is_read_back(kind: str, messages: list[bytes]) -> None:
    writer = framing.make(kind)
    assert feed_all(kind, [b"".join(map(writer.wrap, messages))]) == messages


def test_a_wrapped_line_has_one_newline() -> None:
    for kind in ("json-stream", "ndjson", "auto"):
        assert framing.make(kind).wrap(b'{\n "a": 1\n}') == b'{  "a": 1 }\n'


def test_auto_answers_as_the_peer_writes() -> None:
    reader = framing.make("auto")
    assert reader.wrap(b"{}") == b"{}\n"
    assert reader.feed(b"Content-Length: 2\r\n\r\n{}") == [b"{}"]
    assert reader.wrap(b"{}") == b"Content-Length: 2\r\n\r\n{}"


def test_an_unknown_framing_is_refused() -> None:
    with pytest.raises(ValueError, match="json-stream, ndjson, content-length, auto"):
        framing.make("xml")


@pytest.mark.parametrize("kind", ["json-stream", "ndjson", "auto"])
@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("text", ['["{}"]', '"{}"', "1{}", "x{}"])
def test_a_message_may_have_just_max_bytes(kind: str, size: int, text: str) -> None:
    message = text.format("1" * (100 - len(text) + 2)).encode()
    assert feed_all(kind, cut(message + b"\n", [size]), max_bytes=100) == [message]
    assert feed_all(kind, cut(message + b"\n", [size]), max_bytes=99) == [b"ProtocolError"]


@pytest.mark.parametrize("kind", ["json-stream", "ndjson", "content-length"])
@pytest.mark.parametrize("size", [1, 64, 10000])
@pytest.mark.parametrize("depth", [1, 5, 8, 9, 10, 100, 512])
def test_a_message_may_nest_just_max_depth(kind: str, size: int, depth: int) -> None:
    wrap = framing.make(kind).wrap
    good = b"[" * depth + b'"' + b"[" * 600 + b'"' + b"]" * depth
    deep = b'{"a":' * (depth + 1) + b"1" + b"}" * (depth + 1)
    assert feed_all(kind, cut(wrap(good), [size]), max_depth=depth) == [good]
    assert feed_all(kind, cut(wrap(good) + wrap(deep), [size]), max_depth=depth) == [
        good,
        b"ProtocolError",
    ]


@pytest.mark.parametrize("kind", ["json-stream", "ndjson", "content-length", "auto"])
@pytest.mark.parametrize(
    "start", [b'{"a":"', b"[[[", b"1", b"x", b"Content-Length: 900000000\r\n\r\n"]
)
def test_rpc_bug_02_too_long_a_message_is_refused_within_the_limits_memory(
    kind: str, start: bytes
) -> None:
    limit, chunk = 1_000_000, b"1" * 65536
    reader = framing.make(kind, max_bytes=limit)
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            reader.feed(start)
            for _ in range(100):
                reader.feed(chunk)
        assert tracemalloc.get_traced_memory()[1] < 1.6 * limit
        assert tracemalloc.get_traced_memory()[0] < 50_000
    finally:
        tracemalloc.stop()

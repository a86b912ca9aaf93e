"""Tests of npipe.rpc.wire: where messages end, and limits on what a peer sends.

The reference is the stdlib's ``json.raw_decode`` on the whole text, which knows JSON and nothing
of chunks.
"""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from npipe.errors import ProtocolError, Truncated

# --- streams of JSON ------------------------------------------------------------------------------
from npipe.rpc.wire import framing, json_stream, scanner

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


def reference(stream: bytes) -> list[Any]:
    text, decoder, values = stream.decode(), json.JSONDecoder(), []
    while text := text.lstrip(" \t\r\n"):
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values


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


@given(streams(), SIZES)
@settings(max_examples=400)
def test_a_stream_is_split_as_a_json_decoder_splits_it(stream: bytes, sizes: list[int]) -> None:
    messages = feed_all("json-stream", cut(stream, sizes))
    assert [json.loads(message) for message in messages] == reference(stream)


@given(streams())
@settings(max_examples=200)
def test_a_whole_stream_in_one_chunk_is_split_as_a_json_decoder_splits_it(stream: bytes) -> None:
    assert [json.loads(m) for m in feed_all("json-stream", [stream])] == reference(stream)


PIECES = [
    *[b"{", b"}", b"[", b"]", b'"', b"\\", b"\n", b" ", b",", b":", b"1", b"a", b"\r\n", b"true"],
    *[b"{}", b"}\n{", b'\\"', b'"}{"', b'{"a":"\\\\"}\n', b"}{", b"\\\n", b"\xff", b"[1]\n"],
    *[b" " * 130, b"x" * 300, b"{" * 12, b"}" * 12, b'"",' * 100, b"\\" * 129],
]
NOISE = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


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


@given(NOISE)
@settings(max_examples=300)
def test_nothing_but_whitespace_is_lost(stream: bytes) -> None:
    reader = framing.make("json-stream", max_depth=10**6)
    messages = reader.feed(stream)
    try:
        messages += reader.eof()
    except Truncated:
        return
    space = scanner.WHITESPACE
    assert b"".join(messages).translate(None, space) == stream.translate(None, space)


# --- what a message is, case by case --------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"", []),
        (b" \r\n\t", []),
        (b'{"id":1}', [b'{"id":1}']),
        (b'{"id":1}{"id":2}', [b'{"id":1}', b'{"id":2}']),
        (b'[{"id":1},{"id":2}]\r\n\r\n{"id":3}\r\n', [b'[{"id":1},{"id":2}]', b'{"id":3}']),
        (b'{"a":{}\n}\n', [b'{"a":{}\n}']),
        (b'[{"a":1}\n,{"b":2}]\n', [b'[{"a":1}\n,{"b":2}]']),
        (b'{"method":"}{"}{"x":"\\"}{"}', [b'{"method":"}{"}', b'{"x":"\\"}{"}']),
        (b'1 "x" null{"a":1}true[2]', [b"1", b'"x"', b"null", b'{"a":1}', b"true", b"[2]"]),
        (b"12", [b"12"]),
        # Garbage, each piece of which somebody gets an answer for.
        (b"'f\n{}\n", [b"'f", b"{}"]),
        (b"GET / HTTP/1.1\r\nHost: {x}\r\n\r\n{}", [b"GET / HTTP/1.1", b"Host: {x}", b"{}"]),
        (b'\xef\xbb\xbf{"id":1}\n{}\n', [b'\xef\xbb\xbf{"id":1}', b"{}"]),
        (b'{"a":1,\n{"b":2}\n{"c":3}\n', [b'{"a":1,\n{"b":2}', b'{"c":3}']),
        (b'{"a":"1\n{"b":2}\n', [b'{"a":"1', b'{"b":2}']),
        (b'{"a":1\r\n \n{"b":2}\n', [b'{"a":1', b'{"b":2}']),
        (
            b'{"method": "foobar, "params": "bar", "baz]\n{}\n',
            [b'{"method": "foobar, "params": "bar", "baz]', b"{}"],
        ),
        (b"{]\n{}\n", [b"{]", b"{}"]),
        (b"]]]\n{}\n", [b"]]]", b"{}"]),
        (b"01 nul\n{}", [b"01 nul", b"{}"]),
        (b'{"a":1}}\n{}\n', [b'{"a":1}', b"}", b"{}"]),
    ],
)
def test_json_stream(stream: bytes, messages: list[bytes]) -> None:
    assert feed_all("json-stream", [stream]) == messages
    assert feed_all("json-stream", cut(stream, [1])) == messages


def test_a_message_is_given_out_as_soon_as_it_is_complete() -> None:
    reader = framing.make("json-stream")
    assert reader.feed(b'{"a":') == []
    assert reader.pending == 5
    assert reader.feed(b"1}") == [b'{"a":1}']
    assert reader.pending == 0
    assert reader.feed(b"1") == []  # it may become 12
    assert reader.feed(b"\n") == [b"1"]


def test_rpc_bug_04_two_messages_in_one_read() -> None:
    line = b'{"id":1,"method":"a"}'
    assert framing.make("json-stream").feed(line + line) == [line, line]
    assert framing.make("json-stream").feed(line + b"\n" + line + b"\n") == [line, line]


def test_rpc_bug_05_what_is_not_json_comes_out_to_be_answered() -> None:
    reader = framing.make("json-stream")
    assert reader.feed(b'{"jsonrpc":2.0\n') == []  # the next line may bring the comma
    assert reader.feed(b'{"id":2}\n') == [b'{"jsonrpc":2.0', b'{"id":2}']


@pytest.mark.parametrize("stream", [b'{"a":1', b'["x"', b'"abc', b'{"a":1}\n{'])
def test_the_end_in_the_middle_of_a_message_is_truncation(stream: bytes) -> None:
    assert feed_all("json-stream", [stream])[-1] == b"Truncated"


def test_ndjson_takes_lines_only() -> None:
    assert feed_all("ndjson", [b'{"a":1}\r\n\n{}{}\nnot json\n1']) == [
        b'{"a":1}',
        b"{}{}",
        b"not json",
        b"1",
    ]


@pytest.mark.parametrize("size", [1, 3, 100])
def test_content_length(size: int) -> None:
    stream = (
        b"Content-Length: 2\r\n\r\n{}"
        b'content-type: application/vscode-jsonrpc; charset="UTF-8"\r\ncontent-length:3\r\n\r\n[1]'
        b"Content-Length: 0\r\n\r\nContent-Length: 4\r\n\r\nnull"
    )
    assert feed_all("content-length", cut(stream, [size])) == [b"{}", b"[1]", b"", b"null"]
    assert feed_all("auto", cut(b"\r\n" + stream, [size])) == [b"{}", b"[1]", b"", b"null"]


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: -1",
        b"Content-Length: 1_0",
        b"Content-Length: 9" + b"9" * 30,
        b"Content-Length: 1\r\nContent-Length: 2",
        b"X: y",
        b"Content-Length 3",
        b"Content-Length: 3\r\nContent-Type: text; charset=utf-16",
        b"X: " + b"y" * 5000,
        b"Content-Length: 1001",
    ],
)
def test_a_wrong_header_ends_the_reading(header: bytes) -> None:
    for size in (1, 4099, 10000):
        chunks = cut(header + b"\r\n\r\n{}", [size])
        assert feed_all("content-length", chunks, max_bytes=1000) == [b"ProtocolError"]


def test_a_header_that_never_ends_is_cut_off() -> None:
    reader = framing.make("content-length")
    with pytest.raises(ProtocolError, match="header"):
        for _ in range(1000):
            reader.feed(b"X: y\r\n" * 10)
    assert reader.pending == 0


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


# --- limits ---------------------------------------------------------------------------------------


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


def test_messages_before_the_offence_are_returned_and_the_error_is_known_at_once() -> None:
    reader = framing.make("json-stream", max_bytes=10)
    assert reader.feed(b'{"a":1}\n{"b":"too long"}\n') == [b'{"a":1}']
    assert reader.error is not None
    for again in range(2):
        with pytest.raises(ProtocolError, match="longer than 10 bytes"):
            reader.feed(b"{}\n") if again else reader.eof()


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


# --- work, counted --------------------------------------------------------------------------------


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the bytes that the primitives of the scanner look at."""
    counts = {"bytes": 0, "tokens": 0}
    outline, tokens = scanner.outline, scanner.Container._tokens

    def counting_outline(block: bytes, **options: bool) -> bytes:
        counts["bytes"] += len(block)
        return outline(block, **options)

    def counting_tokens(self: scanner.Container, data: bytes, pos: int, stop: int) -> int:
        end = tokens(self, data, pos, stop)
        counts["tokens"] += (stop if end < 0 else end) - pos
        return end

    monkeypatch.setattr(scanner, "outline", counting_outline)
    monkeypatch.setattr(json_stream, "outline", counting_outline)
    monkeypatch.setattr(scanner.Container, "_tokens", counting_tokens)
    return counts


HEX = b'{"data":"0x' + b"0123456789abcdef" * 50 + b'"}'
SHAPES = {
    "many small": lambda n: b'{"id":1,"params":["0xabc",true]}' * (n // 32),
    "many small, spaced": lambda n: b'{"id":1,"params":["0xabc",true]} ' * (n // 33),
    "many small, with a brace in a string": lambda n: b'{"id":1,"params":["}{ "]}' * (n // 25),
    "batch": lambda n: b"[" + b",".join([HEX] * (n // len(HEX))) + b"]",
    "pretty": lambda n: json.dumps([{"a": [1, 2]}] * (n // 40), indent=1).encode(),
    "escapes": lambda n: b'["' + b'\\"{\\\\' * (n // 5) + b'"]',
    "deep and shallow": lambda n: b"[" + b",".join([b"[" * 500 + b"]" * 500] * (n // 1000)) + b"]",
    "never ends": lambda n: b"[" * 5 + b'"}}}}}",' * (n // 8),
    "newlines": lambda n: b"[1" + b"\n" * n + b"]",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chunk", [1000, 65536, 10**9])
def test_rpc_bug_03_work_grows_with_size_and_not_with_its_square(
    work: dict[str, int], shape: str, chunk: int
) -> None:
    for size in (100_000, 400_000):
        work.update(bytes=0, tokens=0)
        reader = framing.make("json-stream")
        for part in cut(SHAPES[shape](size), [chunk]):
            reader.feed(part)
        assert work["bytes"] <= 8 * size
        assert work["tokens"] <= 1.1 * size

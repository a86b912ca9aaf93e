"""JSON texts one after the other: where each ends.

The reference is the standard library's ``json.raw_decode`` on the whole text, which knows JSON and
nothing of chunks.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from npipe.errors import ProtocolError, Truncated
from npipe.rpc.wire import framing, scanner
from rpc.wire.streams import NOISE, SIZES, cut, feed_all, streams


def reference(stream: bytes) -> list[Any]:
    text, decoder, values = stream.decode(), json.JSONDecoder(), []
    while text := text.lstrip(" \t\r\n"):
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values


@given(streams(), SIZES)
@settings(max_examples=400)
def test_a_stream_is_split_as_a_json_decoder_splits_it(stream: bytes, sizes: list[int]) -> None:
    messages = feed_all("json-stream", cut(stream, sizes))
    assert [json.loads(message) for message in messages] == reference(stream)


@given(streams())
@settings(max_examples=200)
def test_a_whole_stream_in_one_chunk_is_split_as_a_json_decoder_splits_it(stream: bytes) -> None:
    assert [json.loads(m) for m in feed_all("json-stream", [stream])] == reference(stream)


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


def test_messages_before_the_offence_are_returned_and_the_error_is_known_at_once() -> None:
    reader = framing.make("json-stream", max_bytes=10)
    assert reader.feed(b'{"a":1}\n{"b":"too long"}\n') == [b'{"a":1}']
    assert reader.error is not None
    for again in range(2):
        with pytest.raises(ProtocolError, match="longer than 10 bytes"):
            reader.feed(b"{}\n") if again else reader.eof()

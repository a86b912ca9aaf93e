"""The outer structure of texts that are no valid JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npipe.rpc.wire.malformed import split_array, split_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("text", "members", "whole"),
    [
        (rb'{"id":1,"result":"\ud800"}', {b"id": b"1", b"result": rb'"\ud800"'}, True),
        (b' { "id" : "a" , "b" : [1,] } ', {b"id": b'"a"', b"b": b"[1,]"}, True),
        (b'{"id":1,"id":2}', {b"id": b"2"}, True),
        (b'{"id":1,"result":"cut', {b"id": b"1", b"result": b'"cut'}, False),
        (b'{"method": "foobar, "params": "bar", "baz]', {b"method": b'"foobar, "'}, False),
        (b'{"id":7,"result":[1,2}}', {b"id": b"7", b"result": b"[1,2}"}, True),
        (b'{"id":7} {', {b"id": b"7"}, False),
        (b'{"id":,"x":1}', {}, False),
        (b'{"id"', {}, False),
        (b"{}", {}, False),
        (b"", {}, False),
        (b"[1]", {}, False),
        (b'{"a":"\xff","id":3}', {b"a": b'"\xff"', b"id": b"3"}, True),
    ],
)
def test_object(text: bytes, members: dict[bytes, bytes], whole: bool) -> None:
    assert split_object(text) == (members, whole)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (rb'[ {"a":"\ud800"} , 1,"x" ]', [rb'{"a":"\ud800"}', b"1", b'"x"']),
        (b"[1", None),
        (b"[1,]", None),
        (b"[]", None),
        (b'[{"jsonrpc": "2.0"},{"jsonrpc": "2.0", "method"]', None),
        (b"{}", None),
    ],
)
def test_array(text: bytes, items: list[bytes] | None) -> None:
    assert split_array(text) == items


@settings(max_examples=50)
@given(st.dictionaries(st.text(alphabet="abcdef", max_size=3), VALUES, min_size=1))
def test_what_is_valid_is_split_as_json_says(value: dict[str, Any]) -> None:
    for options in ({}, {"indent": 1}, {"ensure_ascii": False}):
        text = json.dumps(value, **options).encode(errors="surrogatepass")
        members, whole = split_object(text)
        assert whole
        assert {name.decode(): json.loads(part) for name, part in members.items()} == value
        items = split_array(json.dumps(list(value.values()), **options).encode())
        assert [json.loads(item) for item in items or ()] == list(value.values())


@given(st.binary(max_size=60))
def test_any_bytes_end(data: bytes) -> None:
    for text in (data, b"{" + data, b'{"' + data, b"[" + data):
        split_object(text)
        split_array(text)

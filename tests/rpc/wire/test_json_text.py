"""JSON text of messages: what is sent, and which values have no form in JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.errors import RPCError
from npipe.rpc.wire.envelopes import Message
from npipe.rpc.wire.json_text import (
    encode,
    encode_members,
    error_object,
    error_reply,
    reply,
    request,
    result_reply,
    trace_members,
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_r20_to_r28_what_goes_out() -> None:
    assert request("m", b"[1]", b"5") == (b'{"jsonrpc":"2.0","id":5,"method":"m","params":[1]}')
    assert request("m") == b'{"jsonrpc":"2.0","method":"m"}'
    assert result_reply(b'"x"', b"null") == b'{"jsonrpc":"2.0","id":"x","result":null}'
    error = RPCError("no", code=7, data=[1])
    assert error_reply(b"1", error) == (
        b'{"jsonrpc":"2.0","id":1,"error":{"code":7,"message":"no","data":[1]}}'
    )


@pytest.mark.parametrize("data", [object(), float("nan"), "\ud800"])
def test_error_data_that_has_no_json_is_left_out(data: object) -> None:
    assert error_object(RPCError("no", code=7, data=data)) == b'{"code":7,"message":"no"}'


def test_a_message_of_lone_surrogates_is_sent_all_the_same() -> None:
    assert error_object(RPCError("\ud800", code=7)) == b'{"code":7,"message":"?"}'


def test_further_members_of_a_request_are_encoded() -> None:
    members = encode_members({"traceparent": "00-1", 'a"': "é"})
    assert members == ',"traceparent":"00-1","a\\"":"é"'.encode()
    text = request("m", b"[]", b"1", members)
    assert msgspec.json.decode(text)["traceparent"] == "00-1"


def test_trace_members_are_forwarded_as_received() -> None:
    parent, state = msgspec.Raw(b'"00-1"'), msgspec.Raw(b'"k=v"')
    assert trace_members(Message("2.0")) == b""
    assert trace_members(Message("2.0", tracestate=state)) == b""
    message = Message("2.0", traceparent=parent, tracestate=state)
    assert trace_members(message) == b',"traceparent":"00-1","tracestate":"k=v"'


def test_a_reply_has_the_encoded_result() -> None:
    assert reply(b"7", {"a": None}) == b'{"jsonrpc":"2.0","id":7,"result":{"a":null}}'


@dataclasses.dataclass
class Point:
    x: float
    y: float | None = None


class Struct(msgspec.Struct):
    x: float
    y: float | None = None


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    "value",
    [
        NAN,
        -INFINITY,
        [1, None, NAN],
        {"a": (None, INFINITY)},
        Point(NAN),
        Struct(INFINITY),
        [2**80, None, NAN],
        {NAN: 1, "a": None},
        [msgspec.Raw(b"null"), NAN],
    ],
)
def test_nan_never_goes_out(value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        encode(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, b"null"),
        ([None, 1.5, 2**80], b"[null,1.5,1208925819614629174706176]"),
        (Point(1.0), b'{"x":1.0,"y":null}'),
        (Struct(1.0), b'{"x":1.0,"y":null}'),
        ("null", b'"null"'),
        (msgspec.Raw(b"null"), b"null"),
    ],
)
def test_null_goes_out_where_it_is_meant(value: object, text: bytes) -> None:
    assert encode(value) == text


@given(json_values)
def test_no_newline_is_ever_inside(value: Any) -> None:
    try:
        data = encode(value)
    except UnicodeEncodeError:
        return
    assert b"\n" not in data
    assert json.loads(data) == value

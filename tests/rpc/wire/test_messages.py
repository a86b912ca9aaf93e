"""Envelopes: accepted, rejected and encoded messages."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.errors import InvalidParams, ParseError, ProtocolError, RPCError
from npipe.rpc.wire import messages
from npipe.rpc.wire.envelopes import InvalidMessage, MalformedReply, Message
from npipe.rpc.wire.messages import parse


def test_r04_r05_r08_a_request() -> None:
    message = parse(b'{"jsonrpc":"2.0","id":"a","method":"m"}')
    assert isinstance(message, Message)
    assert (bytes(message.id), message.method, bytes(message.params)) == (b'"a"', "m", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"'f",
        b"",
        b'{"jsonrpc":"2.0","id":"\xff","method":"m"}',
        b'{"jsonrpc":"2.0","method":"m","params":[1,]}',
        b'[{"jsonrpc":"2.0","id":1,"method":"m"},{"jsonrpc":"2.0","id":2,"method":"m]',
        b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"m"}',
        b'{"jsonrpc":"2.0","id":NaN,"method":"m"}',
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_r29_what_is_no_json_is_a_parse_error(data: bytes) -> None:
    fault = parse(data)
    assert isinstance(fault, InvalidMessage)
    assert (type(fault.error), fault.id) == (ParseError, b"null")


CALL = b'{"jsonrpc":"2.0","id":%b,"method":"m","params":%b}'


@pytest.mark.parametrize(
    ("data", "id", "params"),
    [
        (CALL % (b"1", rb'["\ud800"]'), b"1", rb'["\ud800"]'),
        (CALL % (rb'"\udc00"', b"[1]"), rb'"\udc00"', b"[1]"),
        (CALL % (b"1e400", b"[1,]"), b"1e400", b"[1,]"),
        (CALL % (b"1", b'["\xed\xa0\x80"]'), b"1", b'["\xed\xa0\x80"]'),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', b"1", None),
        (rb'{"jsonrpc":"2.0","id":1,"method":"\ud800"}', b"1", None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m"} 1', b"1", None),
        (b'{"jsonrpc":"2.0","id":1,"method":"m', b"1", None),
        (b'{"id":1,"method":"m","params":[1,]}', b"1", None),
    ],
)
def test_the_id_of_a_call_that_is_no_json_is_read(
    data: bytes, id: bytes, params: bytes | None
) -> None:
    invalid = parse(data)
    assert isinstance(invalid, InvalidMessage)
    assert (type(invalid.error), invalid.id) == (ParseError, id)
    request = invalid.request
    assert (None if request is None else bytes(request.params)) == params


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (rb'"\ud800"', "surrogate"),
        (rb'["a", "\ud83d"]', "surrogate"),
        (rb'"\udc00\ud800"', "surrogate"),
        (b'"\xff"', "UTF-8"),
        (b"[1,]", "trailing comma"),
        (b"{'a':1}", "malformed"),
        (rb'["\\ud800",]', "trailing comma"),
        (b'"cut', "truncated"),
    ],
)
def test_a_reply_that_is_no_json_tells_which_call_it_ends(text: bytes, reason: str) -> None:
    for member in ("result", "error"):
        data = b'{"jsonrpc":"2.0","id":7,"%b":%b}' % (member.encode(), text)
        reply = parse(data[:-1] if text == b'"cut' else data)
        assert isinstance(reply, MalformedReply)
        assert bytes(reply.id) == b"7"
        assert bytes(getattr(reply, member)).startswith(text)
        assert re.search(reason, reply.reason)


def test_a_batch_of_replies_one_of_which_is_no_json() -> None:
    good, bad = b'{"jsonrpc":"2.0","id":1,"result":2}', rb'{"id":2,"result":"\ud800"}'
    replies = parse(b"[" + good + b"," + bad + b"]")
    assert isinstance(replies, list)
    assert [type(reply) for reply in replies] == [Message, MalformedReply]


@pytest.mark.parametrize(
    ("data", "id"),
    [
        (b"1", b"null"),
        (b'{"id":7,"method":"m"}', b"7"),  # r25: the id is told where it can be
        (b'{"jsonrpc":"2.0","id":7.50,"method":1}', b"7.50"),
        (b'{"JSONRPC":"2.0","id":7,"method":"m"}', b"7"),  # r01: names are told apart by case
        (b'{"jsonrpc":"2.0","id":false,"method":"m"}', b"null"),
    ],
)
def test_r25_r29_what_is_no_request_is_invalid(data: bytes, id: bytes) -> None:
    fault = parse(data)
    assert isinstance(fault, InvalidMessage)
    assert (fault.error.code, fault.id) == (-32600, id)


@pytest.mark.parametrize(
    "id", ["7", "-0", "1.5e-3", "null", r'"\u00e9\/"', r'"\ud800"', '"\u00e9"']
)
def test_the_id_of_a_message_that_is_not_json_is_echoed(id: str) -> None:
    fault = parse(f'{{"jsonrpc":"2.0","id":{id},"method":"m","params":[01]}}'.encode())
    assert isinstance(fault, InvalidMessage)
    assert fault.id == id.encode()


@pytest.mark.parametrize("id", ["01", "-01", "1.", ".5", "+1", r'"\q"', r'"\u12"', '"\t"', "NaN"])
def test_an_id_that_is_not_json_is_not_echoed(id: str) -> None:
    """The reply would not be JSON, and its reader would close the connection."""
    fault = parse(f'{{"jsonrpc":"2.0","id":{id},"method":"m"}}'.encode())
    assert isinstance(fault, InvalidMessage)
    assert (fault.error.code, fault.id) == (-32700, b"null")


def test_r02_replies_are_told_from_requests() -> None:
    for data in (b'{"jsonrpc":"2.0","id":1,"result":null}', b'{"id":1,"result":null,"error":null}'):
        message = parse(data)
        assert isinstance(message, Message)
        assert bytes(message.result) == b"null"


def test_r39_each_item_of_a_batch_stands_for_itself() -> None:
    items = parse(b' [1, {"jsonrpc":"2.0","method":"m"}, []]')
    assert isinstance(items, list)
    assert [type(item) for item in items] == [InvalidMessage, Message, InvalidMessage]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_fault(data: bytes) -> None:
    result = parse(data)
    for item in result if isinstance(result, list) else [result]:
        assert isinstance(item, (Message, InvalidMessage))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
members = st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "x"])


@given(st.dictionaries(members, json_values | st.just("2.0")))
def test_any_object_is_a_message_or_a_fault_with_its_id(value: dict[str, Any]) -> None:
    try:
        data = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    result = parse(data)
    if isinstance(result, InvalidMessage):
        is_id = isinstance(value.get("id"), (str, int, float)) and not isinstance(value["id"], bool)
        assert json.loads(result.id) == (value["id"] if is_id else None)


def test_read_error_finds_the_class_of_a_code() -> None:
    error = messages.read_error(msgspec.Raw(b'{"code":-32602,"message":"m","data":{"a":1}}'))
    assert type(error) is InvalidParams
    assert error.data == {"a": 1}
    for text in (b"7", b"{}", b'{"code":"x"}', b'{"code":1.5,"message":"x"}'):
        with pytest.raises(ProtocolError):
            messages.read_error(msgspec.Raw(text))


def test_a_program_s_own_errors_are_not_made_of_what_a_peer_sends() -> None:
    class Own(RPCError):
        code = 77

        def __init__(self) -> None:
            super().__init__("mine")

    error = messages.read_error(msgspec.Raw(b'{"code":77,"message":"theirs"}'))
    assert (type(error), error.code, error.message) == (RPCError, 77, "theirs")

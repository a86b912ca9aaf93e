"""What follows from two functions: envelopes of any encoding, beside those of JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from npipe.errors import MethodNotFound, ProtocolError, RPCError
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.envelopes import InvalidMessage, Message
from rpc.wire.encodings import each


@each
def test_requests(encoding: Encoding) -> None:
    params = encoding.encode([1])
    for id in (b"", b"7"):
        message = encoding.parse(encoding.request("calc_add", params, id))
        assert isinstance(message, Message)
        assert message.method == "calc_add"
        assert encoding.decode(message.params) == [1]
        assert bytes(message.id) == (encoding.encode(7) if id else b"")
    message = encoding.parse(encoding.request("x"))
    assert isinstance(message, Message)
    assert not message.params


@each
def test_replies(encoding: Encoding) -> None:
    for id in (3, "a", None):
        reply = encoding.parse(encoding.reply(encoding.encode(id), {"a": 1}))
        assert isinstance(reply, Message)
        assert json.loads(bytes(reply.id)) == id  # the id of a reply is JSON in any encoding
        assert encoding.decode(reply.result) == {"a": 1}
    reply = encoding.parse(encoding.error_reply(b"", MethodNotFound("no", data=[1])))
    assert isinstance(reply, Message)
    assert bytes(reply.id) == b"null"
    error = encoding.read_error(reply.error)
    assert isinstance(error, MethodNotFound)
    assert (error.message, error.data) == ("no", [1])


@each
def test_a_result_of_null_is_one(encoding: Encoding) -> None:
    reply = encoding.parse(encoding.reply(encoding.encode(1), None))
    assert isinstance(reply, Message)
    assert encoding.decode(reply.result) is None


@each
def test_an_error_that_is_none_and_data_without_a_form(encoding: Encoding) -> None:
    assert isinstance(encoding.read_error(encoding.encode(5)), ProtocolError)
    text = encoding.error_object(RPCError("no \ud800", data=object()))
    assert encoding.decode(text) == {"code": -32000, "message": "no ?"}


@each
@pytest.mark.parametrize(
    "value",
    [
        5,
        {"jsonrpc": "1.0", "id": 1, "method": "m"},
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": True, "method": "m"},
        {"jsonrpc": "2.0", "id": [], "method": "m"},
        {"jsonrpc": "2.0", "id": 1, "method": 5},
        {"jsonrpc": "2.0", "id": 1, "method": "m", "result": 5},
    ],
)
def test_what_is_no_request_is_invalid(encoding: Encoding, value: Any) -> None:
    message = encoding.parse(encoding.encode(value))
    assert isinstance(message, InvalidMessage)
    assert message.error.code == -32600


@each
def test_what_is_not_of_the_encoding_is_a_parse_error(encoding: Encoding) -> None:
    message = encoding.parse(b"\xc1\xff")
    assert isinstance(message, InvalidMessage)
    assert message.error.code == -32700


@each
def test_batches(encoding: Encoding) -> None:
    entries = [(1, "a", [1]), (2, "b", ()), (3, "c", {"x": 1})]
    messages = encoding.parse(encoding.requests(entries))
    assert isinstance(messages, list)
    assert [m.method for m in messages if isinstance(m, Message)] == ["a", "b", "c"]
    nested = encoding.parse(encoding.encode([[], 1]))
    assert isinstance(nested, list)
    assert all(isinstance(message, InvalidMessage) for message in nested)


@each
def test_notes_between_the_ends(encoding: Encoding) -> None:
    def params(message: bytes) -> bytes:
        parsed = encoding.parse(message)
        assert isinstance(parsed, Message)
        return bytes(parsed.params)

    assert encoding.decode(encoding.read_cancelled(params(encoding.cancel(b"7")))) == 7
    progress = encoding.read_progress(
        params(encoding.progress(encoding.encode(7), encoding.encode("x")))
    )
    assert (bytes(progress.token), encoding.decode(progress.value)) == (b"7", "x")
    push = encoding.pusher("a_subscription", "0x1")
    taken = encoding.read_push(params(push("result", encoding.encode(5))))
    assert (encoding.decode(taken.subscription), encoding.decode(taken.result)) == ("0x1", 5)
    assert encoding.read_push(params(push("end", encoding.encode(True)))).end

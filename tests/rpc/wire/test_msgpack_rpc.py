"""Arrays in place of JSON-RPC's objects."""

from __future__ import annotations

import msgspec
import pytest

from npipe.errors import RPCError
from npipe.rpc.wire.envelopes import InvalidMessage, Message
from npipe.rpc.wire.msgpack_rpc import MessagePackRPC

wire = MessagePackRPC()
encode, decode = msgspec.msgpack.encode, msgspec.msgpack.decode


def test_what_is_written() -> None:
    assert decode(wire.request("m", encode([1]), b"7")) == [0, 7, "m", [1]]
    assert decode(wire.request("m")) == [2, "m", []]
    assert decode(wire.reply(encode(7), b"x")) == [1, 7, None, b"x"]
    assert decode(wire.error_reply(encode(7), RPCError("no", code=5))) == [1, 7, [5, "no"], None]
    assert decode(wire.cancel(b"7")) == [2, "$/cancelRequest", [{"id": 7}]]
    with pytest.raises(ValueError, match="by position only"):
        wire.request("m", encode({"a": 1}), b"7")
    assert wire.requests([(1, "a", ()), (2, "b", [5])]) == encode([0, 1, "a", []]) + encode(
        [0, 2, "b", [5]]
    )


@pytest.mark.parametrize("name", ["m", b"m"])
def test_what_is_read(name: str | bytes) -> None:
    call = wire.parse(encode([0, 7, name, [1]]))
    assert isinstance(call, Message)
    assert (decode(call.id), call.method, decode(call.params)) == (7, "m", [1])
    note = wire.parse(encode([2, name, []]))
    assert isinstance(note, Message)
    assert (bytes(note.id), note.method) == (b"", "m")


def test_replies() -> None:
    reply = wire.parse(
        b"\x94\x01\xce\x00\x00\x00\x07\xc0\x01"
    )  # the id in more bytes than it needs
    assert isinstance(reply, Message)
    assert (bytes(reply.id), decode(reply.result)) == (b"7", 1)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ([0, "Vim: no"], 0, "Vim: no"),
        ([5, "no", {"a": 1}], 5, "no"),
        ({"code": 5, "message": "no"}, 5, "no"),
        ("no", -32000, "no"),
        ([1, 2], -32000, "[1, 2]"),
    ],
)
def test_errors_in_any_form(error: object, code: int, message: str) -> None:
    reply = wire.parse(encode([1, 7, error, None]))
    assert isinstance(reply, Message)
    found = wire.read_error(bytes(reply.error))
    assert isinstance(found, RPCError)
    assert (found.code, found.message) == (code, message)


@pytest.mark.parametrize(
    "value", [[], [3, 1, "m", []], [0, 1, 5, []], [0, [], "m", []], [0, 1, "m"], {"a": 1}, [9]]
)
def test_what_is_no_message(value: object) -> None:
    assert isinstance(wire.parse(encode(value)), InvalidMessage)

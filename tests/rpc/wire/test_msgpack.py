"""MessagePack: what it keeps that JSON cannot, and its replies in the session's form."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from npipe.rpc.wire.envelopes import InvalidMessage, Message
from npipe.rpc.wire.msgpack import MessagePack, head_of_array

wire = MessagePack()
encode = msgspec.msgpack.encode


@pytest.mark.parametrize("value", [b"\x00\xff", math.inf, msgspec.msgpack.Ext(5, b"x")])
def test_values_without_a_form_in_json_are_kept(value: Any) -> None:
    assert wire.decode(wire.encode(value)) == value


def test_a_string_that_is_not_utf8_is_decoded_as_bytes() -> None:
    assert wire.decode(b"\xa2\x00\xff") == b"\x00\xff"
    assert wire.decoder(Any)(b"\xa2\x00\xff") == b"\x00\xff"


@pytest.mark.parametrize("size", [0, 15, 16, 70_000])
def test_the_head_of_an_array_has_its_size(size: int) -> None:
    assert head_of_array(size) + encode(1) * size == encode([1] * size)


@pytest.mark.parametrize(
    ("value", "kind"),
    [([], "array"), ([0] * 20, "array"), ({}, "object"), ({str(n): n for n in range(20)}, "object"),
     (None, "null"), (5, "other"), ("x", "other")],
)  # fmt: skip
def test_the_kind_of_a_value_is_told_by_its_first_byte(value: Any, kind: str) -> None:
    assert wire.kind(encode(value)) == kind


def test_the_id_of_a_reply_is_in_json() -> None:
    reply = wire.parse(encode({"jsonrpc": "2.0", "id": 300, "result": None, "error": None}))
    assert isinstance(reply, Message)
    assert (bytes(reply.id), bytes(reply.result), bytes(reply.error)) == (b"300", b"\xc0", b"")
    failed = wire.parse(encode({"jsonrpc": "2.0", "id": 1, "result": None, "error": {"code": 1}}))
    assert isinstance(failed, Message)
    assert (bytes(failed.result), bool(failed.error)) == (b"", True)


def test_the_id_of_a_request_is_echoed_as_received() -> None:
    message = wire.parse(b"\x83\xa7jsonrpc\xa32.0\xa2id\xcd\x00\x07\xa6method\xa1m")
    assert isinstance(message, Message)
    assert bytes(message.id) == b"\xcd\x00\x07"  # 7, in more bytes than it needs
    assert wire.result_reply(bytes(message.id), encode(1)).endswith(b"\xcd\x00\x07\xa6result\x01")


@pytest.mark.parametrize("id", [[], {}, True])
def test_an_id_is_a_number_a_string_or_nil(id: Any) -> None:
    found = wire.parse(encode({"jsonrpc": "2.0", "id": id, "method": "m"}))
    assert isinstance(found, InvalidMessage)


def test_the_members_of_a_trace_are_dropped() -> None:
    message = wire.parse(encode({"jsonrpc": "2.0", "method": "m", "traceparent": "00-1"}))
    assert isinstance(message, Message)
    assert not message.traceparent

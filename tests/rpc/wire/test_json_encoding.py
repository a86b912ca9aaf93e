"""JSON: its fast functions give what the two functions of an encoding would give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from npipe.errors import ProtocolError, RPCError
from npipe.rpc.wire.json_encoding import JSON
from rpc.wire.encodings import Plain

FAST, SLOW = JSON(), Plain()


@pytest.mark.parametrize(
    "write",
    [
        lambda e: e.request("m", b"[1]", b"5"),
        lambda e: e.request("m"),
        lambda e: e.cancel(b"5"),
        lambda e: e.progress(b'"x"', b"1"),
        lambda e: e.reply(b"5", {"a": [None, 1.5]}),
        lambda e: e.result_reply(b"null", b"true"),
        lambda e: e.error_reply(b"", RPCError("no", code=7, data=[1])),
        lambda e: e.error_reply(b"1", RPCError("\ud800", code=7, data=object())),
        lambda e: e.requests([(1, "a", ()), (2, "b", [5]), (3, "c", {})]),
        lambda e: e.array([b"1", b'"x"']),
        lambda e: e.object({"a": b"1", 'b"': b"[]"}),
        lambda e: e.pusher("eth_subscription", "0x1")("result", b"5"),
    ],
)
def test_messages_are_the_same_as_without_the_fast_functions(
    write: Callable[[Any], bytes],
) -> None:
    assert msgspec.json.decode(write(FAST)) == msgspec.json.decode(write(SLOW))


@pytest.mark.parametrize("data", [b"[1]", b'{"a":1}', b"null", b"", b"5", b'"x"'])
def test_the_kind_of_a_value_is_told_by_its_first_byte(data: bytes) -> None:
    assert FAST.kind(data) == SLOW.kind(data)


def test_values_stay_the_received_bytes() -> None:
    assert [bytes(item) for item in FAST.items(b'[ 1.0 ,"\\u0061"]')] == [b"1.0", b'"\\u0061"']
    assert bytes(FAST.members(b'{"a": 1e2}')["a"]) == b"1e2"
    assert FAST.read_cancelled(b'{"id":  "x"}') == b'"x"'
    progress = FAST.read_progress(b'{"token":7,"value":[1 ]}')
    assert (bytes(progress.token), bytes(progress.value)) == (b"7", b"[1 ]")


def test_an_error_that_cannot_be_read_is_returned() -> None:
    assert isinstance(FAST.read_error(b"7"), ProtocolError)
    error = FAST.read_error(b'{"code":7,"message":"no"}')
    assert (type(error), str(error)) == (RPCError, str(RPCError("no", code=7)))

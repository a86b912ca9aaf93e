"""Records of messages: how absent members are told, and the classes of error codes."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET, Raw

from npipe.errors import (
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    ParseError,
    RPCError,
)
from npipe.rpc.wire.envelopes import (
    ABSENT,
    CancelParams,
    MalformedReply,
    Message,
    OutgoingRequest,
    Progress,
    Push,
    ResultReply,
    UndecodableReply,
    named_error,
)


def test_absent_members_are_one_object_each() -> None:
    message = msgspec.json.decode(b'{"jsonrpc":"2.0"}', type=Message)
    assert message.method is UNSET
    assert message.id is message.params is message.result is message.error is ABSENT
    assert not ABSENT


def test_null_is_not_absent() -> None:
    message = msgspec.json.decode(b'{"jsonrpc":"2.0","id":null,"result":null}', type=Message)
    assert (bytes(message.id), bytes(message.result)) == (b"null", b"null")


@pytest.mark.parametrize("text", [b'{"jsonrpc":"1.0"}', b"{}", b"[]", b'{"jsonrpc":2.0}'])
def test_another_version_is_no_message(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Message)


@pytest.mark.parametrize(
    "text",
    [
        b'{"jsonrpc":"2.0","id":"1","result":1}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"result":1,"error":{}}',
        b'{"jsonrpc":"2.0","id":1,"result":1,"method":"m"}',
    ],
)
def test_only_a_plain_result_is_decoded_in_one_go(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=ResultReply)
    good = b'{"jsonrpc":"2.0","id":1,"result":[1 ],"error":null}'
    assert bytes(msgspec.json.decode(good, type=ResultReply).result) == b"[1 ]"


def test_unset_params_are_left_out() -> None:
    request = OutgoingRequest(1, "m")
    assert msgspec.json.encode(request) == b'{"jsonrpc":"2.0","id":1,"method":"m"}'


def test_params_of_notifications() -> None:
    assert bytes(msgspec.json.decode(b'{"id":7}', type=CancelParams).id) == b"7"
    assert not msgspec.json.decode(b'{"token":7}', type=Progress).value
    push = msgspec.json.decode(b'{"subscription":"0x1","end":true}', type=Push)
    assert (bytes(push.subscription), push.end, bytes(push.result)) == (b'"0x1"', True, b"")


def test_a_reply_that_cannot_be_decoded_keeps_its_members() -> None:
    error = UndecodableReply(MalformedReply("2.0", Raw(b"7"), result=Raw(b'"\\ud800"'), reason="x"))
    assert (error.result, error.error) == (b'"\\ud800"', b"")
    assert str(error) == "the reply to the call 7 cannot be decoded: x"


@pytest.mark.parametrize(
    "kind", [ParseError, InvalidRequest, MethodNotFound, InvalidParams, InternalError]
)
def test_a_code_of_the_specification_has_a_class(kind: type[RPCError]) -> None:
    assert type(named_error(kind.code, "no", None)) is kind
    assert type(named_error(kind.code + 1000, "no", None)) is RPCError

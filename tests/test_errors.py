"""Exceptions: they are caught by handlers of the builtin ones."""

from __future__ import annotations

import errno

import pytest

from npipe import errors
from npipe.errors import ClosedError, ConnectionLost, ProtocolError, RPCError, Truncated


@pytest.mark.parametrize(
    ("name", "code", "builtin"),
    [
        ("ParseError", -32700, ValueError),
        ("InvalidRequest", -32600, ValueError),
        ("MethodNotFound", -32601, LookupError),
        ("InvalidParams", -32602, TypeError),
        ("InternalError", -32603, Exception),
        ("RPCError", -32000, Exception),
    ],
)
def test_the_codes_are_those_of_json_rpc(name: str, code: int, builtin: type[Exception]) -> None:
    kind: type[RPCError] = getattr(errors, name)
    error = kind()
    assert (error.code, kind("text", code=5, data=[1]).code) == (code, 5)
    assert isinstance(error, RPCError)
    assert isinstance(error, builtin)
    assert str(error) == f"{error.message} (code {code})"
    assert kind("text", data=[1]).data == [1]


def test_what_the_program_closed_itself_is_not_a_lost_connection() -> None:
    error = ClosedError("listener")
    assert error.errno == errno.EBADF
    assert not isinstance(error, ConnectionError)
    assert "this listener has been closed" in str(error)


def test_a_lost_call_says_whether_it_may_have_run() -> None:
    error = ConnectionLost("gone", maybe_executed=True)
    assert isinstance(error, ConnectionError)
    assert (error.maybe_executed, str(error)) == (True, "gone")


def test_a_stream_that_ends_in_a_message_is_both() -> None:
    assert issubclass(Truncated, EOFError)
    assert issubclass(Truncated, ProtocolError)
    assert issubclass(ProtocolError, ValueError)

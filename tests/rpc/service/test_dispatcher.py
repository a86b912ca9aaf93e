"""Calls and their outcomes: middleware, failures, what is logged and what is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.session.served_calls import ServedBatch
from npipe.rpc.wire.json_encoding import JSON
from rpc.conftest import Wire
from rpc.service import make_api

CRASH = '{"jsonrpc":"2.0","id":1,"method":"test_crash"}'


def test_an_unexpected_error_is_logged_and_not_told(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    (line,) = wire(CRASH)
    assert "secret" not in line
    assert "connection 000017: test_crash failed" in caplog.text
    assert "ZeroDivisionError: a secret" in caplog.text


def test_its_text_and_code_are_options(api: rpc.API) -> None:
    (line,) = Wire(api, show_errors=True, error_code=-32000)(CRASH)
    error = {"code": -32000, "message": "ZeroDivisionError: a secret"}
    assert json.loads(line)["error"] == error


def test_an_rpc_error_is_told_and_not_logged(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire('{"jsonrpc":"2.0","id":1,"method":"test_returnError"}')
    assert caplog.text == ""


def test_middleware_can_refuse_replace_and_see_errors() -> None:
    seen: list[str] = []

    def layer(context: rpc.Context, proceed: Callable[[], Any]) -> Any:
        if context.method == "subtract":  # inline ones pass here, too
            return "replaced"
        try:
            return proceed()
        except rpc.RPCError as error:
            seen.append(error.message)
            raise rpc.RPCError("other", code=1) from None

    wire = Wire(make_api(), middleware=[layer])
    (line,) = wire('{"jsonrpc":"2.0","id":1,"method":"subtract","params":[1,1]}')
    assert json.loads(line)["result"] == "replaced"
    (line,) = wire('{"jsonrpc":"2.0","id":1,"method":"test_returnError"}')
    assert json.loads(line)["error"]["code"] == 1
    assert seen == ["testError"]


def test_middleware_stands_around_subscribing_too(make_wire: Callable[..., Wire]) -> None:
    seen: list[str] = []

    def guard(context: rpc.Context, proceed: Callable[[], object]) -> object:
        seen.append(context.method)
        if "endless" in context.method:
            raise rpc.RPCError("not for you", code=5)
        return proceed()

    wire = make_wire(make_api(), middleware=[guard])
    text = '{"jsonrpc":"2.0","id":1,"method":"test_subscribe","params":["%s"%s]}'
    (refused,) = wire(text % ("endless", ""))
    assert json.loads(refused)["error"] == {"code": 5, "message": "not for you"}
    assert not wire.session.subscriptions
    assert len(wire(text % ("counter", ",2"))) == 4  # its id, two items, the end
    assert seen == ["test_subscribe endless", "test_subscribe counter"]


def test_what_ends_the_program_is_not_swallowed_but_answered() -> None:
    def leave() -> None:
        raise KeyboardInterrupt

    api = rpc.API()
    api.register("x", {"leave": leave})
    wire = Wire(api)
    wire.session.receive([b'{"jsonrpc":"2.0","id":1,"method":"x_leave"}'])
    call = wire.session.next_call()
    assert call is not None
    with pytest.raises(KeyboardInterrupt):
        call.run()
    assert b'"error"' in wire.session.take()


def test_an_async_call_is_run_by_awaiting_it() -> None:
    async def double(number: int) -> int:
        return 2 * number

    api = rpc.API()
    api.register("x", {"double": double})
    wire = Wire(api)
    wire.session.receive([b'{"jsonrpc":"2.0","id":1,"method":"x_double","params":[4]}'])
    call = wire.session.next_call()
    assert call is not None
    with pytest.raises(StopIteration):
        call.run_async().send(None)
    assert b'"result":8' in wire.session.take()


def test_a_batch_emits_once_when_the_last_is_in() -> None:
    out: list[bytes] = []
    batch = ServedBatch(3, 1000, JSON(), lambda _, reply: out.append(reply))
    batch.put(2, b"3", b"c")
    batch.put(0, b"1", b"a")
    batch.end()
    assert out == []
    batch.put(1, b"", b"")
    assert out == [b"[a,c]"]

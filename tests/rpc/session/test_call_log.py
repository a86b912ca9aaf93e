"""One line of the log for each call, by both flavours."""

from __future__ import annotations

import asyncio
import logging

import pytest

from npipe import rpc
from npipe.rpc import API, aio
from rpc.conftest import Wire


class Shop:
    @rpc.method(inline=True)
    def quick(self) -> int:
        return 1

    def buy(self, secret: str) -> str:
        raise rpc.RPCError("sold out", code=7)

    async def wait(self) -> None:
        pass


def api() -> API:
    found = API()
    found.register("shop", Shop())
    return found


TRACE = '"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"'


def records(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, object]]]:
    """Return level and call of each line, without what differs from run to run."""
    found = []
    for record in caplog.records:
        if record.name == "npipe.rpc.calls":
            call = dict(record.call)  # type: ignore[attr-defined]
            assert call.pop("ms") >= 0
            found.append((record.levelname, call))
    return found


def test_each_call_has_a_line_and_no_parameter_is_in_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "npipe.rpc.calls")
    wire = Wire(api(), log_calls=True)
    wire(
        '{"jsonrpc":"2.0","id":1,"method":"shop_quick"}',
        '{"jsonrpc":"2.0","id":"a","method":"shop_buy","params":["hunter2"],' + TRACE + "}",
        '{"jsonrpc":"2.0","method":"shop_quick"}',
        '{"jsonrpc":"2.0","id":2,"method":"forged\\nline"}',
        '{"jsonrpc":"2.0","id":3,"method":"shop_quick","params":[1]}',
        '{"jsonrpc":"2.0","id":4,"method":"' + "x" * 500 + '"}',
    )
    assert records(caplog) == [
        ("INFO", {"method": "shop_quick", "id": "1", "connection": 17}),
        (
            "WARNING",
            {
                "method": "shop_buy",
                "id": '"a"',
                "connection": 17,
                "code": 7,
                "trace_id": "0af7651916cd43dd8448eb211c80319c",
            },
        ),
        ("INFO", {"method": "shop_quick", "id": None, "connection": 17}),
        ("WARNING", {"method": r"forged\nline", "id": "2", "connection": 17, "code": -32601}),
        ("WARNING", {"method": "shop_quick", "id": "3", "connection": 17, "code": -32602}),
        ("WARNING", {"method": "x" * 100, "id": "4", "connection": 17, "code": -32601}),
    ]
    assert "hunter2" not in caplog.text


def test_both_servers_take_the_option(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "npipe.rpc.calls")
    with rpc.Server(api(), log_calls=True) as server, rpc.connect(server, timeout=20) as client:
        client.call("shop_wait")

    async def talk() -> None:
        async with (
            aio.Server(api(), log_calls=True) as server,
            await aio.connect(server, timeout=20) as client,
        ):
            await client.call("shop_wait")

    asyncio.run(talk())
    assert [call["method"] for _, call in records(caplog)] == ["shop_wait"] * 2


def test_it_is_off_unless_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "npipe.rpc.calls")
    Wire(api())('{"jsonrpc":"2.0","id":1,"method":"shop_none"}')
    assert records(caplog) == []

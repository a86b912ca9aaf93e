"""What the console does with lines, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from npipe import rpc
from npipe.cli.console.catalog import discover
from npipe.cli.console.console import Console
from npipe.cli.console.expression import split_expressions


class Eth:
    def block_number(self) -> str:
        return "0x5"

    def get_block_by_number(self, block: str, full: bool) -> dict[str, Any]:
        return {"number": block, "full": full}

    def fail(self) -> None:
        raise rpc.RPCError("no\nway \x1b[31m", code=-32050, data=[1])

    @rpc.subscription(name="newHeads")
    def new_heads(self) -> Iterator[int]:
        yield from range(3)


class Lines:
    """A screen that remembers."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.texts: list[str] = []
        self.errors: list[str] = []

    def result(self, value: Any, seconds: float) -> None:
        assert seconds >= 0
        self.results.append(value)

    def text(self, text: str) -> None:
        self.texts.append(text)

    def error(self, text: str) -> None:
        self.errors.append(text)


@pytest.fixture
def screen() -> Lines:
    return Lines()


@pytest.fixture
def console(address: str, screen: Lines) -> Iterator[Console]:
    api = rpc.API()
    api.register("eth", Eth())
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(address, timeout=60) as client:
            yield Console(client, address, lambda: discover(client.call), screen)


def test_calls_in_every_spelling(console: Console, screen: Lines) -> None:
    for line in ("eth_blockNumber", "eth.blockNumber", "eth.blockNumber()", " eth_blockNumber; "):
        assert console.execute(line)
    assert screen.results == ["0x5"] * 4


def test_what_gets_fingers_know_is_understood(console: Console, screen: Lines) -> None:
    assert console.execute('eth.getBlock("latest").number')
    assert console.execute("eth.getBlock(5, true)")
    assert screen.results == ["latest", {"number": "0x5", "full": True}]


def test_a_parameter_may_be_a_call(console: Console, screen: Lines) -> None:
    assert console.execute("eth.getBlock(eth.blockNumber).number")
    assert console.execute("eth_getBlockByNumber eth.getBlock(eth.blockNumber).number true")
    assert console.execute(".batch eth.getBlock(eth.blockNumber, true); eth.blockNumber")
    five = {"number": "0x5", "full": True}
    assert screen.results == ["0x5", five, [five, "0x5"]]
    assert not console.execute("eth.getBlock(eth.fail)")
    assert "-32050" in screen.errors[0]


def test_what_is_wrong_with_a_line_is_no_servers_fault(
    console: Console, screen: Lines, address: str
) -> None:
    assert not console.execute("eth.getBlock(1 2)")
    assert screen.errors == ["expected , or ) at '2)'"]


def test_requests_written_out(console: Console, screen: Lines) -> None:
    assert console.execute('{"jsonrpc": "2.0", "id": 9, "method": "eth_blockNumber"}')
    named = '{"method": "eth_getBlockByNumber", "params": {"block": "0x1", "full": false}}'
    assert console.execute(named)
    assert console.execute('[{"method": "eth_blockNumber", "params": []}, {"method": "no_such"}]')
    assert screen.results[0] == "0x5"
    assert screen.results[1] == {"number": "0x1", "full": False}
    assert screen.results[2][0] == "0x5"
    assert screen.results[2][1]["code"] == -32601


def test_a_batch(console: Console, screen: Lines) -> None:
    assert console.execute(".batch eth.blockNumber; eth.getBlock(1); eth_fail")
    (results,) = screen.results
    assert results[:2] == ["0x5", {"number": "0x1", "full": False}]
    assert results[2]["code"] == -32050


def test_a_subscription_ends_with_its_server(console: Console, screen: Lines) -> None:
    console.execute(".subscribe eth newHeads")
    assert screen.results[:3] == [0, 1, 2]


def test_errors_are_one_harmless_line(console: Console, screen: Lines) -> None:
    for line in ("eth_fail", "no_such", "eth.", ".nothing", ".batch", ".subscribe eth", "a.b().c"):
        assert not console.execute(line)
    assert len(screen.errors) == 7
    assert all(error.isprintable() for error in screen.errors)
    assert "-32050" in screen.errors[0]


def test_help_modules_and_exit(console: Console, screen: Lines) -> None:
    for line in (".help", ".help eth.getBlockByNumber", ".modules", "", "// nothing", ".exit"):
        assert console.execute(line)
    assert ".subscribe" in screen.texts[0]
    assert "eth_getBlockByNumber(block, full)" in screen.texts[1]
    assert screen.results[0]["eth"] == "1.0"
    assert console.done


def test_semicolons_in_strings_split_nothing() -> None:
    assert split_expressions("a.b(';'); c.d;") == ["a.b(';')", " c.d"]

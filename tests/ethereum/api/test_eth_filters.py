"""Logs, and filters that a client polls: what they see, and what they may cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import COUNTER, LOGGER
from ethereum.direct import Direct
from npipe.errors import RPCError
from npipe.rpc.service.api import API

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


def word(number: int) -> str:
    return f"0x{number:064x}"


@pytest.fixture
def logger(call: Call, alice: str, deploy: Deploy) -> str:
    """A contract that has logged 1, 2 and 3, in the blocks 2, 3 and 4."""
    address = deploy(LOGGER)
    for number in (1, 2, 3):
        call("eth_sendTransaction", {"from": alice, "to": address, "input": word(number)})
    return address


def numbers(logs: list[dict[str, Any]]) -> list[int]:
    return [int(log["data"], 16) for log in logs]


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, [3]),
        ({"fromBlock": "earliest"}, [1, 2, 3]),
        ({"fromBlock": "0x2", "toBlock": "0x3"}, [1, 2]),
        ({"fromBlock": "earliest", "topics": [word(2)]}, [2]),
        ({"fromBlock": "earliest", "topics": [[word(1), word(3)]]}, [1, 3]),
        ({"fromBlock": "earliest", "topics": [None]}, [1, 2, 3]),
        ({"fromBlock": "earliest", "topics": [None, None]}, []),
        ({"fromBlock": "earliest", "address": "0x" + "11" * 20}, []),
    ],
)
def test_logs_are_chosen(
    call: Call, logger: str, criteria: dict[str, Any], expected: list[int]
) -> None:
    assert numbers(call("eth_getLogs", criteria)) == expected


def test_logs_of_an_address_and_of_a_block(call: Call, logger: str, deploy: Deploy) -> None:
    other = deploy(COUNTER)
    query = {"fromBlock": "earliest", "address": [other, logger]}
    assert numbers(call("eth_getLogs", query)) == [1, 2, 3]
    block = call("eth_getBlockByNumber", "0x3", False)["hash"]
    assert numbers(call("eth_getLogs", {"blockHash": block})) == [2]


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ({"fromBlock": "0x2", "toBlock": "0x1"}, "invalid block range params"),
        ({"fromBlock": "0x2", "toBlock": "0x99"}, "block range extends beyond current head"),
        ({"blockHash": "0x" + "11" * 32}, "unknown block"),
        ({"blockHash": "0x" + "11" * 32, "toBlock": "0x1"}, "cannot specify both BlockHash"),
        ({"topics": [None] * 5}, "exceed max topics"),
        ({"address": ["0x" + "11" * 20] * 1001}, "exceed max addresses"),
        ({"topics": "0x00"}, "cannot unmarshal string into Go struct field input.topics"),
    ],
)
def test_what_cannot_be_asked(
    call: Call, logger: str, criteria: dict[str, Any], message: str
) -> None:
    with pytest.raises(RPCError, match=message):
        call("eth_getLogs", criteria)


def test_a_filter_tells_what_is_new(call: Call, logger: str, alice: str) -> None:
    logs = call("eth_newFilter", {"address": logger})
    blocks, pending = call("eth_newBlockFilter"), call("eth_newPendingTransactionFilter")
    assert call("eth_getFilterChanges", logs) == []
    sent = call("eth_sendTransaction", {"from": alice, "to": logger, "input": word(9)})
    assert numbers(call("eth_getFilterChanges", logs)) == [9]
    assert call("eth_getFilterChanges", logs) == []
    head = call("eth_getBlockByNumber", "latest", False)["hash"]
    assert call("eth_getFilterChanges", blocks) == [head]
    assert call("eth_getFilterChanges", pending) == [sent]
    assert numbers(call("eth_getFilterLogs", logs)) == [9]


def test_a_filter_that_was_removed_is_not_found(call: Call, logger: str) -> None:
    made = call("eth_newBlockFilter")
    assert call("eth_uninstallFilter", made) is True
    assert call("eth_uninstallFilter", made) is False
    for method in ("eth_getFilterChanges", "eth_getFilterLogs"):
        with pytest.raises(RPCError, match="filter not found"):
            call(method, made)
    with pytest.raises(RPCError, match="filter not found"):  # it has no logs
        call("eth_getFilterLogs", call("eth_newBlockFilter"))


def test_filters_are_forgotten_when_nobody_asks(service: Any) -> None:
    from npipe.ethereum.api.eth_filters import EthFilters

    now = 0.0
    api = API()
    api.register("eth", EthFilters(service.node, clock=lambda: now))
    call = Direct(api).call
    kept, forgotten = call("eth_newBlockFilter"), call("eth_newBlockFilter")
    now = 299.0
    call("eth_getFilterChanges", kept)
    now = 301.0
    assert call("eth_getFilterChanges", kept) == []
    with pytest.raises(RPCError, match="filter not found"):
        call("eth_getFilterChanges", forgotten)
    assert len(service.node.hub) == 1


def test_there_are_only_so_many_filters(call: Call, logger: str) -> None:
    for _ in range(1000):
        call("eth_newBlockFilter")
    with pytest.raises(RPCError, match="there are 1000 filters"):
        call("eth_newBlockFilter")


def test_only_so_many_blocks_and_logs_are_looked_at(service: Any, logger: str) -> None:
    from npipe.ethereum.chain.logs import LogCriteria, Wanted, matching

    blocks = service.node.chain.blocks
    with pytest.raises(RPCError, match="exceed maximum block range"):
        matching(list(blocks) * 30_000, Wanted(LogCriteria()))
    with pytest.raises(RPCError, match="more than 10000 results"):
        matching(list(blocks) * 5_000, Wanted(LogCriteria()))

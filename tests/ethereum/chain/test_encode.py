"""Blocks, transactions, receipts and logs as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import LOGGER

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


def test_a_transaction_says_where_it_is_once_it_is_mined(
    call: Call, service: Any, alice: str, bob: str
) -> None:
    from npipe.ethereum.chain import encode

    call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x7"})
    mined = service.node.chain.head
    item = mined.block.transactions[0]
    pending, there = encode.transaction(item), encode.transaction(item, mined, 0)
    places = ("blockHash", "blockNumber", "blockTimestamp", "transactionIndex")
    assert {pending[name] for name in places} == {None}
    assert (there["blockNumber"], there["transactionIndex"]) == ("0x1", "0x0")
    assert (there["type"], there["v"], there["value"]) == ("0x2", there["yParity"], "0x7")
    assert pending["gasPrice"] == pending["maxFeePerGas"]
    base, tip = int(mined.header.base_fee_per_gas), int(there["maxPriorityFeePerGas"], 16)
    assert int(there["gasPrice"], 16) == base + tip


def test_logs_are_counted_through_the_whole_block(
    call: Call, service: Any, alice: str, deploy: Deploy
) -> None:
    from npipe.ethereum.chain import encode

    logger = deploy(LOGGER)
    call("evm_setAutomine", False)
    for value in (1, 2):
        request = {"from": alice, "to": logger, "input": f"0x{value:064x}", "gas": "0xffff"}
        call("eth_sendTransaction", request)
    call("evm_mine")
    mined = service.node.chain.head
    receipts = encode.receipts(mined)
    assert [log["logIndex"] for receipt in receipts for log in receipt["logs"]] == ["0x0", "0x1"]
    assert receipts[1] == encode.receipt(mined, 1)
    ((first, _, _), (second, index, place)) = encode.logs(mined)
    assert (int.from_bytes(first.data, "big"), index, place) == (1, 1, 1)
    assert encode.log(mined, index, second, place, removed=True)["removed"] is True


def test_a_block_that_is_to_come_has_no_hash(service: Any) -> None:
    from npipe.ethereum.chain import encode

    head = service.node.chain.head
    shape = encode.block(head, 500, full=False, pending=True)
    assert (shape["hash"], shape["nonce"], shape["miner"], shape["size"]) == (
        *(None, None, None, "0x1f4"),
    )
    assert shape["withdrawals"] == []
    assert shape["stateRoot"] == encode.header(head)["stateRoot"]

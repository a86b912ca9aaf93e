"""The namespace eth: blocks, receipts, and the identity of the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from npipe.errors import RPCError

Call = Callable[..., Any]


def test_a_block_to_come_is_header_not_found(call: Call, alice: str) -> None:
    with pytest.raises(RPCError, match="header not found"):
        call("eth_getBalance", alice, "0x99")
    with pytest.raises(RPCError, match="header for hash not found"):
        call("eth_getBalance", alice, {"blockHash": "0x" + "11" * 32})
    assert call("eth_getBlockByNumber", "0x99", False) is None
    assert call("eth_getBlockByHash", "0x" + "11" * 32, False) is None


def test_a_block_has_many_names(call: Call, alice: str, bob: str) -> None:
    call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x1"})
    latest = call("eth_getBlockByNumber", "latest", False)
    names = ["0x1", 1, "safe", "finalized", latest["hash"], {"blockHash": latest["hash"]}]
    assert {call("eth_getBalance", bob, name) for name in names} == {call("eth_getBalance", bob)}
    assert call("eth_getBlockByNumber", "earliest", False)["number"] == "0x0"
    pending = call("eth_getBlockByNumber", "pending", False)
    assert (pending["number"], pending["hash"], pending["parentHash"]) == (
        "0x2",
        None,
        latest["hash"],
    )


def test_transactions_of_a_block_are_found_by_its_number_and_by_its_hash(
    call: Call, alice: str, bob: str
) -> None:
    sent = call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x1"})
    block = call("eth_getBlockByNumber", "latest", True)
    assert block == call("eth_getBlockByHash", block["hash"], True)
    assert [item["hash"] for item in block["transactions"]] == [sent]
    for kind, name in (("Number", "0x1"), ("Hash", block["hash"])):
        count = call(f"eth_getBlockTransactionCountBy{kind}", name)
        first = call(f"eth_getTransactionByBlock{kind}AndIndex", name, "0x0")
        second = call(f"eth_getTransactionByBlock{kind}AndIndex", name, "0x1")
        assert (count, first, second) == ("0x1", block["transactions"][0], None)
        assert call(f"eth_getHeaderBy{kind}", name)["transactionsRoot"] == block["transactionsRoot"]
        assert call(f"eth_getUncleCountByBlock{kind}", name) == "0x0"
    assert call("eth_getBlockReceipts", "0x1") == [call("eth_getTransactionReceipt", sent)]


def test_what_is_not_there_is_null(call: Call) -> None:
    nothing = "0x" + "11" * 32
    for method in ("TransactionByHash", "TransactionReceipt", "HeaderByHash"):
        assert call(f"eth_get{method}", nothing) is None
    assert call("eth_getRawTransactionByHash", nothing) == "0x"
    assert call("eth_getBlockTransactionCountByNumber", "0x99") is None

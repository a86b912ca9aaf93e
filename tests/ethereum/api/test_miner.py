"""The namespace miner: when blocks are made, and the receiver of their fees."""

from __future__ import annotations

from typing import Any


def test_tips_go_to_the_etherbase(call: Any, alice: str, bob: str) -> None:
    base = "0x" + "be" * 20
    assert call("miner_setEtherbase", base) is True
    call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x1"})
    assert int(call("eth_getBalance", base), 16) == 21_000 * 10**9
    assert call("eth_coinbase") == base


def test_transactions_wait_while_mining_is_stopped(call: Any, alice: str, bob: str) -> None:
    assert call("miner_stop") is None
    sent = call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x1"})
    assert call("eth_getTransactionReceipt", sent) is None
    assert call("miner_start") is None
    assert call("eth_getTransactionReceipt", sent)["blockNumber"] == "0x1"

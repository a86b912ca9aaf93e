"""Time, blocks on demand, and going back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

import npipe.ethereum as ethereum
from npipe.errors import RPCError

Call = Callable[..., Any]


def timestamp(call: Call, block: str = "latest") -> int:
    return int(call("eth_getBlockByNumber", block, False)["timestamp"], 16)


def test_blocks_have_the_time_of_now_and_never_the_same(call: Call) -> None:
    before = int(time.time())
    call("evm_mine")
    call("evm_mine")
    assert before <= timestamp(call, "0x1") < timestamp(call, "0x2") <= time.time() + 3


def test_time_can_be_moved(call: Call) -> None:
    assert call("evm_increaseTime", "0xe10") == 3600
    call("evm_mine")
    assert timestamp(call) == pytest.approx(time.time() + 3600, abs=5)
    assert call("evm_increaseTime", 60) == 3660  # a number will do, as hardhat sends it


def test_time_is_moved_by_all_of_it_even_if_blocks_came_quickly(call: Call) -> None:
    """Ten blocks in a second are ten seconds apart in all: ahead of the clock."""
    call("evm_mine", {"blocks": 10})
    before = timestamp(call)
    call("evm_increaseTime", 100)
    call("evm_mine")
    assert 100 <= timestamp(call) - before < 110


def test_the_next_block_can_be_given_a_time_and_the_clock_goes_on_from_it(call: Call) -> None:
    wanted = int(time.time()) + 10**6
    call("evm_setNextBlockTimestamp", hex(wanted))
    call("evm_mine")
    assert timestamp(call) == wanted
    call("evm_mine")
    assert wanted < timestamp(call) < wanted + 10


def test_time_does_not_go_back(call: Call) -> None:
    call("evm_mine")
    for wanted in (hex(timestamp(call)), hex(2**64)):
        with pytest.raises(RPCError, match="is not later than the last block's"):
            call("evm_setNextBlockTimestamp", wanted)


def test_several_blocks_at_once(call: Call) -> None:
    call("evm_mine", {"blocks": 3})
    assert call("eth_blockNumber") == "0x3"
    with pytest.raises(RPCError, match="the limit is"):
        call("evm_mine", {"blocks": 10**9})


def test_a_snapshot_brings_everything_back(call: Call, alice: str, bob: str) -> None:
    request = {"from": alice, "to": bob, "value": "0x64"}
    call("eth_sendTransaction", request)
    before = call("eth_getBalance", bob)
    first = call("evm_snapshot")
    sent = call("eth_sendTransaction", request)
    second = call("evm_snapshot")
    gone = call("eth_getBlockByNumber", "latest", False)["hash"]
    assert call("evm_revert", first) is True
    assert call("eth_getBalance", bob) == before
    assert call("eth_blockNumber") == "0x1"
    assert call("eth_getTransactionReceipt", sent) is None
    assert call("eth_getBlockByHash", gone, False) is None
    assert call("evm_revert", second) is False  # it was of a time that is no more
    assert call("evm_revert", first) is False  # used up
    assert call("evm_snapshot") not in (first, second)  # no number is ever another's
    again = call("eth_sendTransaction", request)
    assert again == sent  # the same nonce, the same transaction: it is known no more
    assert call("eth_getTransactionReceipt", again)["status"] == "0x1"


def test_transactions_wait_when_automining_is_off(call: Call, alice: str, bob: str) -> None:
    call("evm_setAutomine", False)
    sent = [
        call("eth_sendTransaction", {"from": alice, "to": bob, "value": hex(value)})
        for value in (1, 2, 3)
    ]
    assert call("eth_getTransactionCount", alice, "latest") == "0x0"
    assert call("eth_getTransactionCount", alice, "pending") == "0x3"
    assert call("eth_getTransactionByHash", sent[0])["blockHash"] is None
    assert call("eth_getBlockByNumber", "pending", False)["transactions"] == sent
    call("evm_mine")
    assert call("eth_getBlockByNumber", "latest", False)["transactions"] == sent
    receipts = call("eth_getBlockReceipts", "latest")
    assert [int(r["cumulativeGasUsed"], 16) for r in receipts] == [21000, 42000, 63000]


def test_a_nonce_too_high_waits_for_the_one_before_it(call: Call, alice: str, bob: str) -> None:
    request = {"from": alice, "to": bob, "gas": "0x5208"}
    late = call("eth_sendTransaction", {**request, "nonce": "0x1"})
    assert call("txpool_status") == {"pending": "0x0", "queued": "0x1"}
    assert list(call("txpool_contentFrom", alice)["queued"]) == ["1"]
    first = call("eth_sendTransaction", {**request, "nonce": "0x0"})
    blocks = [call("eth_getTransactionReceipt", item)["blockNumber"] for item in (first, late)]
    assert blocks == ["0x1", "0x2"]  # one block for each
    assert call("txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_a_waiting_transaction_is_replaced_by_one_that_pays_a_tenth_more(
    call: Call, alice: str, bob: str
) -> None:
    call("miner_stop")
    request = {"from": alice, "to": bob, "gas": "0x5208", "nonce": "0x0"}
    first = call("eth_sendTransaction", {**request, "gasPrice": hex(10**10)})
    with pytest.raises(RPCError, match="replacement transaction underpriced"):
        call("eth_sendTransaction", {**request, "gasPrice": hex(10**10 + 1)})
    second = call("eth_sendTransaction", {**request, "gasPrice": hex(11 * 10**9)})
    call("miner_start")
    assert call("eth_getTransactionReceipt", first) is None
    assert call("eth_getTransactionReceipt", second)["status"] == "0x1"


def test_what_waits_is_sent_again_for_more(call: Call, alice: str, bob: str) -> None:
    request = {"from": alice, "to": bob, "gas": "0x5208", "nonce": "0x0"}
    with pytest.raises(RPCError, match="transaction not found"):
        call("eth_resend", request, hex(10**10))
    call("miner_stop")
    first = call("eth_sendTransaction", {**request, "gasPrice": hex(10**10)})
    second = call("eth_resend", request, hex(2 * 10**10))
    call("miner_start")
    assert call("eth_getTransactionReceipt", first) is None
    assert call("eth_getTransactionReceipt", second)["status"] == "0x1"


def test_with_a_block_time_blocks_come_by_themselves(api: Any) -> None:
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    import threading

    arrived = threading.Semaphore(0)
    with ethereum.register(api, block_time=0.02) as service:
        assert service.node is not None
        service.node.hub.add(lambda event: arrived.release())
        for _ in range(3):
            assert arrived.acquire(timeout=60)
    height = service.node.head.number  # the chain is closed: no block comes any more
    assert height >= 3
    while arrived.acquire(blocking=False):
        pass
    assert not arrived.acquire(timeout=0.1)

"""The namespace eth: what gas costs, and cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from npipe.errors import RPCError

Call = Callable[..., Any]
GWEI = 10**9


def test_the_history_has_one_base_fee_more_than_blocks(call: Call) -> None:
    call("evm_mine", {"blocks": 3})
    history = call("eth_feeHistory", "0x2", "latest", [])
    assert history["oldestBlock"] == "0x2"
    blocks = [call("eth_getBlockByNumber", name, False) for name in ("0x2", "0x3", "pending")]
    assert history["baseFeePerGas"] == [block["baseFeePerGas"] for block in blocks]
    assert history["gasUsedRatio"] == [0, 0]
    assert call("eth_baseFee") == history["baseFeePerGas"][-1]
    assert "reward" not in history
    none = call("eth_feeHistory", "0x0", "latest", [50])
    assert (none["oldestBlock"], none["baseFeePerGas"]) == ("0x0", [])


def test_rewards_are_the_tips_at_shares_of_the_gas(call: Call, alice: str, bob: str) -> None:
    call("evm_setAutomine", False)
    for sender, tip in ((alice, 1), (bob, 3)):
        fees = {"maxFeePerGas": hex(100 * GWEI), "maxPriorityFeePerGas": hex(tip * GWEI)}
        call("eth_sendTransaction", {"from": sender, "to": bob, "gas": "0x5208", **fees})
    call("evm_mine", {"blocks": 2})
    history = call("eth_feeHistory", 2, "latest", [0, 50, 51, 100])
    assert history["reward"] == [
        [hex(tip * GWEI) for tip in (1, 1, 3, 3)],
        ["0x0"] * 4,  # nothing was in the second block
    ]


@pytest.mark.parametrize(
    ("percentiles", "message"),
    [
        ([101], "invalid reward percentile: 101"),
        ([-1], "invalid reward percentile: -1"),
        ([50, 10], "#0:50.000000 >= #1:10.000000"),
        ([1] * 101, "over the query limit 100"),
    ],
)
def test_percentiles_rise_from_0_to_100(call: Call, percentiles: Any, message: str) -> None:
    with pytest.raises(RPCError, match=message):
        call("eth_feeHistory", "0x1", "latest", percentiles)


def test_a_suggested_price_is_accepted_by_the_next_block(call: Call, alice: str, bob: str) -> None:
    price = call("eth_gasPrice")
    assert int(price, 16) >= int(call("eth_baseFee"), 16) + int(
        call("eth_maxPriorityFeePerGas"), 16
    )
    sent = call("eth_sendTransaction", {"from": alice, "to": bob, "gasPrice": price})
    assert call("eth_getTransactionReceipt", sent)["effectiveGasPrice"] == price
    with pytest.raises(RPCError, match="request beyond head block: requested 153, head 1"):
        call("eth_feeHistory", "0x1", "0x99")

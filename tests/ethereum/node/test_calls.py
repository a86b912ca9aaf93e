"""Calls and estimates: the block that they see, the sender's money, and an end in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import ANSWER, COUNTER, LOOP, STORE, assemble, init
from npipe.errors import RPCError

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


def strict_caller_of(address: str) -> bytes:
    """A contract that calls another with all its gas, and reverts if that fails."""
    return assemble(
        f"0x00 0x00 0x00 0x00 0x00 {address} GAS CALL @fine JUMPI 0x00 0x00 REVERT :fine STOP"
    )


@pytest.mark.parametrize("case", ["transfer", "data", "deploy", "store", "clear", "nested", "list"])
def test_the_estimate_is_the_least_that_is_enough(
    call: Call, alice: str, bob: str, deploy: Deploy, case: str
) -> None:
    store = deploy(STORE)
    call("eth_sendTransaction", {"from": alice, "to": store, "input": f"0x{7:064x}"})
    fields: dict[str, Any] = {
        "transfer": {"to": bob, "value": "0x1"},
        "data": {"to": bob, "input": "0x" + "00ff" * 300},  # EIP-7623's floor
        "deploy": {"input": "0x" + init(COUNTER).hex()},
        "store": {"to": deploy(COUNTER)},
        "clear": {"to": store, "input": f"0x{0:064x}"},  # with a refund at the end
        "nested": {"to": deploy(strict_caller_of(deploy(COUNTER)))},  # 1/64 is kept back
        "list": {"to": store, "accessList": [{"address": store, "storageKeys": []}]},
    }[case]
    request = {"from": alice, **fields}
    least = int(call("eth_estimateGas", request), 16)
    before = call("evm_snapshot")
    sent = call("eth_sendTransaction", {**request, "gas": hex(least)})
    assert call("eth_getTransactionReceipt", sent)["status"] == "0x1"
    call("evm_revert", before)
    try:
        sent = call("eth_sendTransaction", {**request, "gas": hex(least - 1)})
    except RPCError as error:
        assert "intrinsic gas too low" in error.message or "floor data gas" in error.message
    else:
        assert call("eth_getTransactionReceipt", sent)["status"] == "0x0"


def test_an_estimate_is_no_more_than_the_sender_can_pay(call: Call, alice: str, bob: str) -> None:
    poor = "0x" + "33" * 20
    call("eth_sendTransaction", {"from": alice, "to": poor, "value": hex(21_000 * 10**10)})
    request = {"from": poor, "to": bob, "gasPrice": hex(10**10)}
    assert call("eth_estimateGas", request) == "0x5208"
    with pytest.raises(RPCError, match=r"gas required exceeds allowance \(10500\)"):
        call("eth_estimateGas", {**request, "gasPrice": hex(2 * 10**10)})
    with pytest.raises(RPCError, match="insufficient funds"):
        call("eth_estimateGas", {"from": poor, "to": bob, "value": hex(10**20)})


def test_more_gas_than_there_is_does_not_help(call: Call, deploy: Deploy) -> None:
    with pytest.raises(RPCError, match="gas required exceeds allowance"):
        call("eth_estimateGas", {"to": deploy(LOOP), "gas": "0x186a0"})


def test_a_call_sees_no_base_fee_unless_it_names_a_price(
    call: Call, alice: str, deploy: Deploy
) -> None:
    base_fee = deploy(assemble("BASEFEE 0x00 MSTORE 0x20 0x00 RETURN"))
    assert int(call("eth_call", {"to": base_fee}), 16) == 0
    head = call("eth_getBlockByNumber", "latest", False)
    priced = {"from": alice, "to": base_fee, "gasPrice": hex(10**10)}
    assert int(call("eth_call", priced), 16) == int(head["baseFeePerGas"], 16)


def test_a_call_that_offers_too_little_is_refused_as_a_transaction_is(
    call: Call, alice: str, deploy: Deploy
) -> None:
    request = {"from": alice, "to": deploy(ANSWER)}
    for fee in ({"gasPrice": "0x1"}, {"maxFeePerGas": "0x1"}):
        with pytest.raises(RPCError, match="max fee per gas less than block base fee"):
            call("eth_call", {**request, **fee})
    with pytest.raises(RPCError, match="max priority fee per gas higher than max"):
        call("eth_call", {**request, "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"})


def test_a_call_sees_the_block_that_it_asks_for(call: Call, deploy: Deploy) -> None:
    number = deploy(assemble("NUMBER 0x00 MSTORE 0x20 0x00 RETURN"))
    call("evm_mine", {"blocks": 3})
    assert [int(call("eth_call", {"to": number}, at), 16) for at in ("0x2", "latest")] == [2, 4]
    assert int(call("eth_call", {"to": number}, "pending"), 16) == 5


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_an_endless_call_is_ended(
    call: Call, deploy: Deploy, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    endless = deploy(LOOP)
    monkeypatch.setattr("npipe.ethereum.node.calls.TIMEOUT", 0.05)
    started = time.monotonic()
    with pytest.raises(RPCError, match="execution aborted"):
        call(method, {"to": endless})
    assert time.monotonic() - started < 4
    assert call("eth_blockNumber") == "0x1"

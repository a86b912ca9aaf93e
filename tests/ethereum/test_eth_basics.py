"""The slice that a client needs first: transfer, deploy, call, receipt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from npipe.errors import RPCError

Call = Callable[..., Any]

# PUSH1 42, PUSH1 0, MSTORE, PUSH1 32, PUSH1 0, RETURN: answers 42, whatever it is asked.
ANSWER = bytes.fromhex("602a60005260206000f3")
# PUSH1 0, PUSH1 0, REVERT
REVERT = bytes.fromhex("60006000fd")


def deploy(call: Call, sender: str, runtime: bytes) -> str:
    # PUSH1 size, DUP1, PUSH1 11, PUSH1 0, CODECOPY, PUSH1 0, RETURN: these 11 bytes, then the code.
    init = bytes([0x60, len(runtime)]) + bytes.fromhex("80600b6000396000f3") + runtime
    sent = call("eth_sendTransaction", {"from": sender, "data": "0x" + init.hex()})
    receipt = call("eth_getTransactionReceipt", sent)
    assert receipt["status"] == "0x1"
    assert call("eth_getCode", receipt["contractAddress"]) == "0x" + runtime.hex()
    return str(receipt["contractAddress"])


def test_a_transfer(call: Call, alice: str, bob: str) -> None:
    before = int(call("eth_getBalance", bob, "latest"), 16)
    sent = call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x7"})
    receipt = call("eth_getTransactionReceipt", sent)
    assert (receipt["status"], receipt["gasUsed"]) == ("0x1", "0x5208")
    assert int(call("eth_getBalance", bob), 16) == before + 7
    assert int(call("eth_getBalance", bob, "0x0"), 16) == before
    assert call("eth_getTransactionCount", alice, "pending") == "0x1"
    assert call("eth_blockNumber") == "0x1"


def test_a_contract_is_deployed_and_called(call: Call, alice: str) -> None:
    address = deploy(call, alice, ANSWER)
    assert int(call("eth_call", {"to": address}, "latest"), 16) == 42
    assert call("eth_call", {"to": address}, "0x0") == "0x"  # it was not there yet


def test_a_revert_is_error_3_with_its_data(call: Call, alice: str) -> None:
    address = deploy(call, alice, REVERT)
    for method in ("eth_call", "eth_estimateGas"):
        with pytest.raises(RPCError) as caught:
            call(method, {"from": alice, "to": address})
        assert (caught.value.code, caught.value.message) == (3, "execution reverted")
        assert caught.value.data == "0x"


def test_an_unknown_method_is_not_found(call: Call) -> None:
    with pytest.raises(RPCError) as caught:
        call("eth_noSuchThing")
    assert caught.value.code == -32601


def test_a_bad_address_is_bad_params(call: Call) -> None:
    with pytest.raises(RPCError) as caught:
        call("eth_getBalance", "0x1234")
    assert caught.value.code == -32602


def test_an_unknown_block_is_header_not_found(call: Call, alice: str) -> None:
    with pytest.raises(RPCError, match="header not found"):
        call("eth_getBalance", alice, "0x99")
    assert call("eth_getBlockByNumber", "0x99", False) is None


def test_the_fee_history_has_one_base_fee_more(call: Call, alice: str, bob: str) -> None:
    call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x7"})
    history = call("eth_feeHistory", "0xa", "latest", [20.0])
    assert history["oldestBlock"] == "0x0"
    assert len(history["baseFeePerGas"]) == 3
    assert history["reward"] == [["0x0"], ["0x3b9aca00"]]

"""Calls: exact gas, pretended accounts, the sender's money, and an end in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import ANSWER, REVERT
from npipe.errors import RPCError

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("00" * 0 + "fe", "invalid opcode"),
        ("01", "stack underflow"),
        ("600156", "invalid jump destination"),
        ("5b600056", "out of gas"),
    ],
)
def test_failures_have_geths_words(call: Call, code: str, message: str) -> None:
    with pytest.raises(RPCError, match=message) as caught:
        call("eth_call", {"input": "0x" + code, "gas": "0x186a0"})
    assert caught.value.code == -32000


def test_the_newest_number_is_told_while_the_chain_is_busy(
    call: Call, service: ethereum.Service
) -> None:
    assert service.node is not None
    release = threading.Event()
    busy = threading.Thread(target=service.node.worker.call, args=(release.wait, 30))
    busy.start()
    try:
        assert call("eth_blockNumber") == "0x0"
        assert call("eth_chainId") == "0x539"
        assert len(call("eth_accounts")) == 10
    finally:
        release.set()
        busy.join()


def test_a_revert_in_a_transaction_costs_and_is_in_the_receipt(
    call: Call, alice: str, deploy: Deploy
) -> None:
    request = {"from": alice, "to": deploy(REVERT), "gas": "0x186a0"}
    receipt = call("eth_getTransactionReceipt", call("eth_sendTransaction", request))
    assert receipt["status"] == "0x0"
    assert 21_000 < int(receipt["gasUsed"], 16) < 22_000


def test_code_can_be_lent_to_an_account(
    call: Call, service: Any, alice: str, deploy: Deploy
) -> None:
    """EIP-7702: bob signs that ANSWER's code runs at his address; alice sends it."""
    from eth_hash.auto import keccak
    from rlp import encode

    bob, answer = service.accounts[1], deploy(ANSWER)
    body = encode([1337, bytes.fromhex(answer[2:]), 0])
    signature = bob.key.sign_msg_hash(keccak(b"\x05" + body))
    authorization = {
        "chainId": "0x539",
        "address": answer,
        "nonce": "0x0",
        "yParity": hex(signature.v),
        "r": hex(signature.r),
        "s": hex(signature.s),
    }
    address = "0x" + bob.address.hex()
    request = {"from": alice, "to": address, "authorizationList": [authorization]}
    sent = call("eth_sendTransaction", request)
    receipt = call("eth_getTransactionReceipt", sent)
    assert (receipt["status"], receipt["type"]) == ("0x1", "0x4")
    assert call("eth_getCode", address) == "0xef0100" + answer[2:]
    assert int(call("eth_call", {"to": address}), 16) == 42
    whole = call("eth_getTransactionByHash", sent)
    assert whole["authorizationList"] == [authorization]
    # bob is still a person: he can send
    call("eth_sendTransaction", {"from": address, "to": alice, "value": "0x1"})

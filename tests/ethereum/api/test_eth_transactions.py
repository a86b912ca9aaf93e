"""The namespace eth: sending and signing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from npipe.errors import RPCError

Call = Callable[..., Any]


def test_a_transfer(call: Call, alice: str, bob: str) -> None:
    before = int(call("eth_getBalance", bob, "latest"), 16)
    sent = call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x7"})
    receipt = call("eth_getTransactionReceipt", sent)
    assert (receipt["status"], receipt["gasUsed"]) == ("0x1", "0x5208")
    assert int(call("eth_getBalance", bob), 16) == before + 7
    assert int(call("eth_getBalance", bob, "0x0"), 16) == before
    assert call("eth_getTransactionCount", alice, "pending") == "0x1"
    assert call("eth_blockNumber") == "0x1"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"value": hex(10**30)}, "insufficient funds for gas \\* price \\+ value"),
        ({"nonce": "0x0"}, "nonce too low: next nonce 1, tx nonce 0"),
        ({"gas": "0x5207"}, "intrinsic gas too low: gas 20999, minimum needed 21000"),
        ({"gas": "0x2faf080"}, "exceeds block gas limit"),
        ({"chainId": "0x1"}, "chainId does not match node's"),
        ({"data": "0x01", "input": "0x02"}, 'both "data" and "input" are set'),
        ({"gasPrice": "0x1", "maxFeePerGas": "0x1"}, "both gasPrice and"),
        ({"maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"}, "maxFeePerGas .0x1. < max"),
        ({"gasPrice": "0x1"}, "max fee per gas less than block base fee"),
        ({"from": "0x" + "99" * 20}, "unknown account"),
        ({"to": None}, "contract creation without any data provided"),
    ],
)
def test_what_cannot_be_sent_is_refused_in_geths_words(
    call: Call, alice: str, bob: str, fields: dict[str, Any], message: str
) -> None:
    request = {"from": alice, "to": bob, "value": "0x1"}
    call("eth_sendTransaction", request)
    with pytest.raises(RPCError, match=message) as caught:
        call("eth_sendTransaction", {"gas": "0x5208", **request, **fields})
    assert caught.value.code == -32000
    assert call("eth_blockNumber") == "0x1"


def test_signing_without_sending(call: Call, alice: str, bob: str) -> None:
    request = {"from": alice, "to": bob, "value": "0x1", "gas": "0x5208", "nonce": "0x0"}
    signed = call("eth_signTransaction", {**request, "gasPrice": "0x77359400"})
    assert call("eth_blockNumber") == "0x0"
    assert signed["tx"]["type"] == "0x0"
    sent = call("eth_sendRawTransaction", signed["raw"])
    assert sent == signed["tx"]["hash"]
    assert call("eth_getTransactionReceipt", sent)["status"] == "0x1"
    with pytest.raises(RPCError, match="already known"):
        call("eth_sendRawTransaction", signed["raw"])
    with pytest.raises(RPCError, match="gas not specified"):
        call("eth_signTransaction", {"from": alice, "to": bob, "nonce": "0x0"})


def test_a_waiting_transaction_is_replaced_by_one_that_pays_more(
    call: Call, alice: str, bob: str
) -> None:
    call("evm_setAutomine", False)
    request = {"from": alice, "to": bob, "value": "0x1", "gas": "0x5208"}
    first = call("eth_sendTransaction", {**request, "gasPrice": hex(10**10)})
    (waiting,) = call("eth_pendingTransactions")
    assert waiting["hash"] == first
    again = {**request, "nonce": "0x0", "gasPrice": hex(10**10)}
    second = call("eth_resend", again, hex(2 * 10**10))
    assert [item["hash"] for item in call("eth_pendingTransactions")] == [second]
    with pytest.raises(RPCError, match="missing transaction nonce"):
        call("eth_resend", request)

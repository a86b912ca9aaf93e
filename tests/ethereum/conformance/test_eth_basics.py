"""The slice that a client needs first: transfer, deploy, call, receipt, and plain errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import ANSWER, REVERT
from npipe.errors import RPCError

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


def test_a_transfer(call: Call, alice: str, bob: str) -> None:
    before = int(call("eth_getBalance", bob, "latest"), 16)
    sent = call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x7"})
    receipt = call("eth_getTransactionReceipt", sent)
    assert (receipt["status"], receipt["gasUsed"]) == ("0x1", "0x5208")
    assert int(call("eth_getBalance", bob), 16) == before + 7
    assert int(call("eth_getBalance", bob, "0x0"), 16) == before
    assert call("eth_getTransactionCount", alice, "pending") == "0x1"
    assert call("eth_blockNumber") == "0x1"


def test_a_contract_is_deployed_and_called(call: Call, deploy: Deploy) -> None:
    address = deploy(ANSWER)
    assert int(call("eth_call", {"to": address}, "latest"), 16) == 42
    assert call("eth_call", {"to": address}, "0x0") == "0x"  # it was not there yet


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_a_revert_is_error_3_with_its_data(
    call: Call, alice: str, deploy: Deploy, method: str
) -> None:
    address = deploy(REVERT)
    with pytest.raises(RPCError) as caught:
        call(method, {"from": alice, "to": address, "input": "0xdeadbeef"})
    assert (caught.value.code, caught.value.message) == (3, "execution reverted")
    assert caught.value.data == "0xdeadbeef"


def test_the_reason_of_a_revert_is_in_the_message(call: Call, deploy: Deploy) -> None:
    address = deploy(REVERT)
    reason = b"not today"
    error = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + len(reason).to_bytes(32, "big")
    with pytest.raises(RPCError, match=r"^execution reverted: not today"):
        call("eth_call", {"to": address, "input": "0x" + (error + reason.ljust(32, b"\0")).hex()})
    panic = bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")
    with pytest.raises(RPCError, match="arithmetic underflow or overflow"):
        call("eth_call", {"to": address, "input": "0x" + panic.hex()})


def test_an_unknown_method_is_not_found(call: Call) -> None:
    with pytest.raises(RPCError) as caught:
        call("eth_noSuchThing")
    assert caught.value.code == -32601


@pytest.mark.parametrize("address", ["0x1234", 7, None, "f" * 42])
def test_a_bad_address_is_bad_params(call: Call, address: Any) -> None:
    with pytest.raises(RPCError) as caught:
        call("eth_getBalance", address)
    assert caught.value.code == -32602


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


def test_input_is_preferred_to_data_in_a_call(call: Call, deploy: Deploy) -> None:
    address = deploy(REVERT)
    with pytest.raises(RPCError) as caught:
        call("eth_call", {"to": address, "data": "0x01", "input": "0x02"})
    assert caught.value.data == "0x02"


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


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("0x", "typed transaction too short"),
        ("0x03c0", "unexpected EOF"),
        ("0x7fc0", "transaction type not supported"),
        ("0xc0", "rlp"),
        ("0x02f8", "rlp"),
    ],
)
def test_bytes_that_are_no_transaction(call: Call, raw: str, message: str) -> None:
    with pytest.raises(RPCError, match=message):
        call("eth_sendRawTransaction", raw)

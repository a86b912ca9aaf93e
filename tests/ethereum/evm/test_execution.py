"""Calls: exact gas, pretended accounts, the sender's money, and an end in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import ANSWER, COUNTER, LOOP, RECURSE, REVERT, STORE, assemble, init
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


def test_pretended_money_that_is_more_than_fits_wraps_as_in_geth(
    call: Call, alice: str, bob: str
) -> None:
    all_there_is = {"balance": hex(2**256 - 1)}
    request = {"from": alice, "to": bob, "value": "0x1"}
    assert call("eth_call", request, "latest", {alice: all_there_is, bob: all_there_is}) == "0x"


def test_a_call_sees_the_block_that_it_asks_for(call: Call, deploy: Deploy) -> None:
    number = deploy(assemble("NUMBER 0x00 MSTORE 0x20 0x00 RETURN"))
    call("evm_mine", {"blocks": 3})
    assert [int(call("eth_call", {"to": number}, at), 16) for at in ("0x2", "latest")] == [2, 4]
    assert int(call("eth_call", {"to": number}, "pending"), 16) == 5


def test_older_blocks_have_their_hashes(call: Call, deploy: Deploy) -> None:
    reader = deploy(assemble("0x00 CALLDATALOAD BLOCKHASH 0x00 MSTORE 0x20 0x00 RETURN"))
    call("evm_mine", {"blocks": 3})
    for number in (0, 2, 3):
        block = call("eth_getBlockByNumber", hex(number), False)
        assert call("eth_call", {"to": reader, "input": f"0x{number:064x}"}) == block["hash"]


def test_accounts_can_be_pretended(call: Call, deploy: Deploy) -> None:
    nobody, store = "0x" + "44" * 20, deploy(STORE)
    pretended = {nobody: {"code": "0x" + ANSWER.hex(), "balance": "0x7", "nonce": "0x1"}}
    assert int(call("eth_call", {"to": nobody}, "latest", pretended), 16) == 42
    slot, value = "0x" + "00" * 32, f"0x{9:064x}"
    for field in ("state", "stateDiff"):
        assert call("eth_call", {"to": store}, "latest", {store: {field: {slot: value}}}) == value
    assert call("eth_getCode", nobody) == "0x"  # nothing of it is kept
    with pytest.raises(RPCError, match="both 'state' and 'stateDiff'"):
        call("eth_call", {"to": store}, "latest", {store: {"state": {}, "stateDiff": {}}})


def test_a_call_to_oneself_1024_deep_ends(call: Call, deploy: Deploy) -> None:
    assert call("eth_call", {"to": deploy(RECURSE), "gas": hex(30_000_000)}) == "0x"


def test_the_worker_has_room_for_the_deepest_calls(
    service: ethereum.Service, deploy: Deploy
) -> None:
    from npipe.ethereum.evm.execution import Message, execute

    node, contract = service.node, bytes.fromhex(deploy(RECURSE)[2:])
    assert node is not None

    def depth() -> int:
        outcome = execute(node.chain.state(), Message(sender=bytes(20), to=contract, gas=10**15))
        found, frame = 0, outcome.computation
        while frame.children:
            found, frame = found + 1, frame.children[0]
        return found

    assert node.worker.call(depth) == 1024


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas", "debug_traceCall"])
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

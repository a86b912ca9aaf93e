"""Frames: as deep as the EVM allows, their refunds, and creations that fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import RECURSE, STORE, assemble
from npipe.errors import RPCError

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


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


@pytest.mark.parametrize(
    ("size", "gas", "message"),
    [
        ("0x6001", 30_000_000, "max code size exceeded"),
        ("0x6000", 100_000, "contract creation code storage out of gas"),
    ],
)
def test_a_creation_that_fails_for_its_code_says_why(
    call: Call, size: str, gas: int, message: str
) -> None:
    creation = assemble(f"{size} 0x00 RETURN")
    with pytest.raises(RPCError, match=message):
        call("eth_call", {"input": "0x" + creation.hex(), "gas": hex(gas)})


def test_gas_is_given_back_for_a_slot_that_is_cleared(
    call: Call, alice: str, deploy: Deploy
) -> None:
    store = deploy(STORE)
    used = []
    for value in (7, 0):
        request = {"from": alice, "to": store, "input": f"0x{value:064x}", "gas": "0xffff"}
        receipt = call("eth_getTransactionReceipt", call("eth_sendTransaction", request))
        used.append(int(receipt["gasUsed"], 16))
    assert used[0] - used[1] > 17_000  # 20,000 to set it; 2,900 less 4,800 to clear it (EIP-3529)


def test_a_creation_that_fails_for_its_code_keeps_nothing(call: Call, alice: str) -> None:
    creation = assemble("0x6001 0x00 RETURN")  # more code than there may be
    request = {"from": alice, "input": "0x" + creation.hex(), "value": "0x9", "gas": "0xf42400"}
    receipt = call("eth_getTransactionReceipt", call("eth_sendTransaction", request))
    assert receipt["status"] == "0x0"
    assert call("eth_getBalance", receipt["contractAddress"]) == "0x0"

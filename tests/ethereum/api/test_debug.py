"""The namespace debug: blocks as bytes, and traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import ANSWER
from npipe.errors import RPCError

Call = Callable[..., Any]


def test_a_block_and_its_parts_as_bytes(call: Call, alice: str, bob: str) -> None:
    from eth_hash.auto import keccak
    from rlp import decode

    sent = call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x1"})
    header = bytes.fromhex(call("debug_getRawHeader", "latest")[2:])
    block = call("eth_getBlockByNumber", "latest", False)
    assert "0x" + keccak(header).hex() == block["hash"]
    assert decode(bytes.fromhex(call("debug_getRawBlock", "latest")[2:]))[0] == decode(header)
    raw = bytes.fromhex(call("debug_getRawTransaction", sent)[2:])
    assert "0x" + keccak(raw).hex() == sent
    (receipt,) = call("debug_getRawReceipts", "latest")
    assert decode(bytes.fromhex(receipt[4:]))[:2] == [b"\1", (21_000).to_bytes(2, "big")]
    assert call("debug_getRawTransaction", "0x" + "11" * 32) == "0x"
    assert call("debug_getBadBlocks") == []


@pytest.mark.parametrize(
    ("method", "name", "message"),
    [
        ("debug_traceTransaction", "0x" + "11" * 32, "transaction not found"),
        ("debug_traceBlockByNumber", "0x99", "block #153 not found"),
        ("debug_traceBlockByHash", "0x" + "11" * 32, f"block 0x{'11' * 32} not found"),
        ("debug_getRawBlock", "0x99", "block #153 not found"),
    ],
)
def test_what_is_not_there_is_an_error(call: Call, method: str, name: str, message: str) -> None:
    with pytest.raises(RPCError, match=message):
        call(method, name)


def test_a_call_is_traced_with_what_it_pretends(call: Call) -> None:
    pretended = {"0x" + "44" * 20: {"code": "0x" + ANSWER.hex()}}
    request, config = {"to": "0x" + "44" * 20}, {"stateOverrides": pretended}
    trace = call("debug_traceCall", request, "latest", config)
    assert int(trace["returnValue"], 16) == 42
    assert call("debug_traceCall", request, "latest")["structLogs"] == []

"""State and block overrides: their effect on a call, and that nothing is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import ANSWER, STORE, assemble
from npipe.errors import RPCError

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


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


def test_a_block_can_be_pretended(call: Call, deploy: Deploy) -> None:
    number = deploy(assemble("NUMBER TIMESTAMP ADD 0x00 MSTORE 0x20 0x00 RETURN"))
    block = {"number": "0x1000", "time": "0x7fffffff"}
    assert int(call("eth_call", {"to": number}, "latest", {}, block), 16) == 0x1000 + 0x7FFFFFFF
    with pytest.raises(RPCError, match='block override "withdrawals" is not supported'):
        call("eth_call", {"to": number}, "latest", {}, {"withdrawals": []})


def test_a_precompile_can_be_moved(call: Call) -> None:
    identity, elsewhere = "0x" + "00" * 19 + "04", "0x" + "77" * 20
    request = {"to": elsewhere, "input": "0x1234"}
    moved = {identity: {"movePrecompileToAddress": elsewhere}}
    assert call("eth_call", request) == "0x"
    assert call("eth_call", request, "latest", moved) == "0x1234"
    assert call("eth_call", {**request, "to": identity}, "latest", moved) == "0x"
    with pytest.raises(RPCError, match="is not a precompile"):
        call("eth_call", request, "latest", {elsewhere: {"movePrecompileToAddress": identity}})
    with pytest.raises(RPCError, match="is already overridden"):
        call("eth_call", request, "latest", {**moved, elsewhere: {"balance": "0x1"}})

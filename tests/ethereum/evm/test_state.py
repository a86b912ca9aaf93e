"""The state that a call runs on: its deadline, ancestors, and numbers that wrap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import assemble
from npipe.ethereum.errors import ChainError

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


def test_pretended_money_that_is_more_than_fits_wraps_as_in_geth(
    call: Call, alice: str, bob: str
) -> None:
    all_there_is = {"balance": hex(2**256 - 1)}
    request = {"from": alice, "to": bob, "value": "0x1"}
    assert call("eth_call", request, "latest", {alice: all_there_is, bob: all_there_is}) == "0x"


def test_older_blocks_have_their_hashes(call: Call, deploy: Deploy) -> None:
    reader = deploy(assemble("0x00 CALLDATALOAD BLOCKHASH 0x00 MSTORE 0x20 0x00 RETURN"))
    call("evm_mine", {"blocks": 3})
    for number in (0, 2, 3):
        block = call("eth_getBlockByNumber", hex(number), False)
        assert call("eth_call", {"to": reader, "input": f"0x{number:064x}"}) == block["hash"]


def test_past_its_deadline_a_state_ends_what_runs_on_it(service: Any) -> None:
    state = service.node.chain.state()
    state.tick()  # without a deadline it never does
    state.deadline = 0.0
    with pytest.raises(ChainError, match=r"execution aborted \(timeout = 5s\)"):
        state.tick()


def test_a_nonce_goes_on_from_0_after_the_last(service: Any) -> None:
    state, account = service.node.chain.state(), b"\1" * 20
    state.set_nonce(account, 2**64 - 1)
    state.increment_nonce(account)
    assert state.get_nonce(account) == 0

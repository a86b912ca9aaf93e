"""Transactions: from bytes, from a request, and what the chain takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from npipe.errors import RPCError

Call = Callable[..., Any]


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


def test_a_signature_is_of_one_chain_and_of_the_lower_half(service: Any) -> None:
    from npipe.ethereum.chain import transactions
    from npipe.ethereum.values.types import TransactionRequest

    made = transactions.unsigned(
        TransactionRequest(to="0x" + "11" * 20), chain_id=5, nonce=0, gas=21_000, fees=(9, 1)
    )
    signed = transactions.sign(made, service.accounts[0].key, 5)
    assert signed.sender == service.accounts[0].address
    transactions.check(signed, chain_id=5, gas_limit=21_000)
    for options, message in (
        ({"chain_id": 6, "gas_limit": 21_000}, "invalid chain id for signer: have 5 want 6"),
        ({"chain_id": 5, "gas_limit": 20_999}, "exceeds block gas limit"),
    ):
        with pytest.raises(RPCError, match=message):
            transactions.check(signed, **options)
    with pytest.raises(RPCError, match="tx cost 189001, overshot 1"):
        state = service.node.chain.state()
        state.set_balance(signed.sender, 189_000)
        transactions.check_against_state(signed, state, spent=1)

"""Transactions of accounts without a key."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from npipe.ethereum.chain import transactions
from npipe.ethereum.evm.impersonation import Impersonated, impersonate, recognized, simulated
from npipe.ethereum.values.types import TransactionRequest

SENDER = b"\x0c" * 20


def unsigned(tip: int | None = 1) -> Any:
    request = TransactionRequest(to="0x" + "11" * 20)
    return transactions.unsigned(request, chain_id=1, nonce=7, gas=21_000, fees=(10, tip))


def test_the_sender_is_known_again_from_the_bytes() -> None:
    sent = impersonate(unsigned(), SENDER)
    assert (sent.sender, sent.nonce) == (SENDER, 7)
    again = transactions.restore(sent.encode())
    assert isinstance(again, Impersonated)
    assert (again.sender, again.hash) == (SENDER, sent.hash)
    assert impersonate(unsigned(), b"\x0d" * 20).hash != sent.hash


def test_what_was_signed_is_left_as_it_is() -> None:
    from eth_keys import keys

    signed = transactions.sign(unsigned(), keys.PrivateKey(b"\7" * 32), 1)
    assert recognized(signed) is signed
    assert signed.sender != SENDER


@pytest.mark.parametrize("tip", [1, None])
def test_a_simulated_one_has_the_hash_of_what_is_not_signed(tip: int | None) -> None:
    from eth_hash.auto import keccak

    made = simulated(unsigned(tip), SENDER)
    assert made.sender == SENDER
    assert made.hash == keccak(transactions.without_signature(unsigned(tip)))
    made.validate()
    made.check_signature_validity()

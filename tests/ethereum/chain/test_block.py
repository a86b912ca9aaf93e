"""A block as the chain keeps it, and as it is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

Call = Callable[..., Any]


@pytest.fixture
def mined(call: Call, service: Any, alice: str, bob: str) -> Any:
    """A block with two transactions, of which the first creates a contract."""
    call("evm_setAutomine", False)
    call("eth_sendTransaction", {"from": alice, "data": "0x00", "gas": "0xffff"})
    call("eth_sendTransaction", {"from": bob, "to": alice, "value": "0x1", "gas": "0x5208"})
    call("evm_mine")
    return service.node.chain.head


def test_what_each_transaction_used_is_told_from_the_sums(mined: Any) -> None:
    sums = [receipt.gas_used for receipt in mined.receipts]
    assert [mined.gas_used(0), mined.gas_used(1)] == [sums[0], sums[1] - sums[0]]
    assert 21_000 in (mined.gas_used(0), mined.gas_used(1))
    assert len([address for address in mined.created if address]) == 1


def test_it_comes_back_as_it_was_saved(mined: Any, service: Any) -> None:
    from npipe.ethereum.chain.block import restored

    again = restored(mined.saved(), service.node.chain.forks)
    assert again.hash == mined.hash
    assert again.created == mined.created
    assert [item.encode() for item in again.receipts] == [item.encode() for item in mined.receipts]
    assert again.saved() == mined.saved()


def test_a_receipt_for_each_transaction_is_wanted(mined: Any, service: Any) -> None:
    from npipe.ethereum.chain.block import restored

    saved = mined.saved()
    saved.receipts.pop()
    with pytest.raises(ValueError, match="block 1 does not have a receipt for each transaction"):
        restored(saved, service.node.chain.forks)

"""The namespace txpool: what could be mined now, and what waits for a nonce."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from npipe.ethereum.values.types import to_bytes

Call = Callable[..., Any]


@pytest.fixture
def waiting(call: Call, alice: str, bob: str) -> tuple[str, str]:
    """The hashes of one transaction that could be mined, and one whose nonce is too high."""
    call("evm_setAutomine", False)
    request = {"from": alice, "to": bob, "value": "0x1", "gas": "0x5208"}
    first = call("eth_sendTransaction", request)
    return first, call("eth_sendTransaction", {**request, "nonce": "0x5"})


def test_a_transaction_without_those_before_it_is_queued(
    call: Call, alice: str, waiting: tuple[str, str]
) -> None:
    from npipe.ethereum.evm.addresses import checksum

    sender = checksum(to_bytes(alice))
    assert call("txpool_status") == {"pending": "0x1", "queued": "0x1"}
    content = call("txpool_content")
    assert content["pending"][sender]["0"]["hash"] == waiting[0]
    assert content["queued"][sender]["5"]["hash"] == waiting[1]
    own = call("txpool_contentFrom", alice)
    assert own == {kind: content[kind][sender] for kind in ("pending", "queued")}
    line = call("txpool_inspect")["queued"][sender]["5"]
    assert line.startswith("0x") and ": 1 wei + 21000 gas x " in line


def test_another_has_nothing_in_it(call: Call, bob: str, waiting: tuple[str, str]) -> None:
    assert call("txpool_contentFrom", bob) == {"pending": {}, "queued": {}}

"""The served modules, with and without the extra, and the peers that may use them."""

from __future__ import annotations

from typing import Any

import pytest

import npipe.ethereum as ethereum
from npipe.rpc.service.api import API


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accounts": -1}, "accounts: the number must be between"),
        ({"balance": 2**256}, "must be at least 0"),
        ({"chain_id": 0}, "chain id 0"),
        ({"chain_id": 2**60}, "chain id"),
        ({"block_time": 0}, "a block time of 0 seconds"),
        ({"block_time": float("nan")}, "a block time of nan seconds"),
        ({"block_time": 1e10}, "a block time of 10000000000.0 seconds"),
        ({"mnemonic": " "}, "the mnemonic is empty"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    pytest.importorskip("eth")
    with pytest.raises(ValueError, match=message):
        ethereum.register(API(), **options)

"""Tests of npipe.cli.console.units: conversions without a server."""

from __future__ import annotations

from typing import Any

import pytest

from npipe.cli.console.units import FUNCTIONS


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("web3_fromWei", ["0xde0b6b3a7640000"], "1"),
        ("web3_fromWei", [1, "ether"], "0.000000000000000001"),
        ("web3_fromWei", ["1000000000000000000000", "kether"], "1"),
        ("web3_fromWei", [2**256 - 1, "wei"], str(2**256 - 1)),
        ("web3_toWei", [1.5, "ether"], "1500000000000000000"),
        ("web3_toWei", ["0.0000000001", "gwei"], ValueError),
        ("web3_toWei", [1, "pound"], ValueError),
        ("web3_toWei", ["one"], ValueError),
        ("web3_toWei", ["nan"], ValueError),
        ("web3_toDecimal", ["0xff"], 255),
        ("web3_toDecimal", [None], ValueError),
        ("web3_toHex", [255], "0xff"),
        ("web3_toHex", [1.5], ValueError),
    ],
)
def test_a_conversion(name: str, params: list[Any], expected: Any) -> None:
    if expected is ValueError:
        with pytest.raises(ValueError, match=r"\w"):
            FUNCTIONS[name](*params)
    else:
        assert FUNCTIONS[name](*params) == expected

"""Numbers and bytes in JSON, as Ethereum writes them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.errors import InvalidParams
from npipe.ethereum.values.types import (
    Address,
    Quantity,
    TransactionRequest,
    data,
    quantity,
    to_bytes,
    to_int,
    word,
)


@given(st.integers(0, 2**256 - 1))
def test_quantities_come_back(number: int) -> None:
    assert to_int(quantity(number)) == to_int(word(number)) == to_int(number) == number
    assert msgspec.convert(quantity(number), Quantity) == quantity(number)


@given(st.binary(max_size=100))
def test_data_comes_back(octets: bytes) -> None:
    assert to_bytes(data(octets)) == octets


@pytest.mark.parametrize("bad", ["", "0x", "12", "0xg", None, True, -1, 1.5, [], "0x 1", "0x_1"])
def test_what_is_no_quantity(bad: Any) -> None:
    with pytest.raises(InvalidParams, match="is not a quantity"):
        to_int(bad)


@pytest.mark.parametrize("bad", ["", "12", "0x1", "0xgg", "0x 12", "0x12 "])
def test_what_is_no_data(bad: str) -> None:
    with pytest.raises(InvalidParams, match="is not hex data"):
        to_bytes(bad)


@pytest.mark.parametrize("bad", ["0x" + "1" * 65, "0x", -1, True, 1.0, "0x1\n"])
def test_a_quantity_of_a_caller_is_bounded(bad: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, Quantity)


@pytest.mark.parametrize("bad", ["0x" + "1" * 39, "0x" + "1" * 41, "0x" + "1" * 40 + "\n"])
def test_an_address_has_twenty_bytes(bad: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, Address)


@pytest.mark.parametrize("nothing", [{}, {"to": None}, {"to": ""}, {"to": "0x"}])
def test_no_receiver_creates_a_contract(nothing: dict[str, Any]) -> None:
    assert msgspec.convert(nothing, TransactionRequest).target == b""


def test_input_goes_before_data_and_what_is_unknown_is_ignored() -> None:
    fields = {"data": "0x01", "input": "0x02", "somethingNew": 1, "from": "0x" + "11" * 20}
    request = msgspec.convert(fields, TransactionRequest)
    assert request.payload == b"\2"
    assert msgspec.convert({"data": "0x01"}, TransactionRequest).payload == b"\1"

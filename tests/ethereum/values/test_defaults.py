"""What a request leaves out, filled in; and requests that make no sense."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from npipe.ethereum.errors import ChainError
from npipe.ethereum.values.defaults import TIP, call_fees, check_request, fees, with_fees
from npipe.ethereum.values.types import TransactionRequest

BASE = 1_000


def request(**fields: Any) -> TransactionRequest:
    return msgspec.convert({"to": "0x" + "11" * 20, **fields}, TransactionRequest)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (2 * BASE + TIP, TIP)),
        ({"gasPrice": "0x7"}, (7, None)),
        ({"type": "0x0"}, (BASE + TIP, None)),
        ({"maxFeePerGas": "0x7"}, (7, 7)),
        ({"maxPriorityFeePerGas": "0x7"}, (2 * BASE + 7, 7)),
        ({"maxFeePerGas": "0x9", "maxPriorityFeePerGas": "0x7"}, (9, 7)),
    ],
)
def test_fees_that_are_not_named_are_those_that_the_next_block_takes(
    fields: Any, expected: Any
) -> None:
    assert fees(request(**fields), BASE) == expected
    filled = with_fees(request(**fields), expected)
    assert fees(filled, BASE) == expected


def test_a_call_that_names_no_fee_is_free() -> None:
    assert call_fees(request()) == (0, 0)
    assert call_fees(request(gasPrice="0x5")) == (5, None)
    assert call_fees(request(maxPriorityFeePerGas="0x5")) == (5, 5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gasPrice": "0x0"}, "gasPrice must be non-zero"),
        ({"gasPrice": "0x1", "maxFeePerGas": "0x1"}, "both gasPrice and"),
        ({"maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x2"}, "maxFeePerGas .0x1. < max"),
    ],
)
def test_fees_that_contradict_each_other_are_refused(fields: Any, message: str) -> None:
    with pytest.raises(ChainError, match=message):
        fees(request(**fields), BASE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": "0x01", "input": "0x02"}, 'both "data" and "input" are set'),
        ({"chainId": "0x9"}, r"chainId does not match node's \(have=9, want=1\)"),
        ({"type": "0x3"}, "signing blob transactions not supported"),
        ({"type": "0x4"}, "must have at least one authorization"),
        ({"type": "0x5"}, "transaction type not supported"),
        ({"to": None}, "contract creation without any data provided"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(fields: Any, message: str) -> None:
    with pytest.raises(ChainError, match=message):
        check_request(request(**fields), 1)
    check_request(request(data="0x01", input="0x01", chainId="0x1", type="0x2"), 1)

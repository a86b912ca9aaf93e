"""The reasons of failed creations and empty stacks, as geth words them."""

from __future__ import annotations

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from eth.exceptions import InsufficientStack, OutOfGas

from npipe.ethereum.evm.errors import CodeTooLarge, NoGasForCode, StackUnderflow
from npipe.ethereum.evm.execution import describe


def test_they_are_what_py_evm_takes_them_for_and_are_told_apart() -> None:
    told = {}
    for error in (OutOfGas("x"), CodeTooLarge("x"), NoGasForCode("x")):
        assert isinstance(error, OutOfGas)
        told[type(error).__name__] = describe(error)
    assert told == {
        "OutOfGas": "out of gas",
        "CodeTooLarge": "max code size exceeded",
        "NoGasForCode": "contract creation code storage out of gas",
    }
    assert isinstance(StackUnderflow(1, 2), InsufficientStack)
    assert describe(StackUnderflow(1, 2)) == "stack underflow (1 <=> 2)"

"""Reasons for a failed creation or instruction that py-evm does not distinguish."""

from __future__ import annotations

from eth.exceptions import InsufficientStack, OutOfGas

__all__ = ["CodeTooLarge", "NoGasForCode", "StackUnderflow"]


class CodeTooLarge(OutOfGas):
    """The code of a new contract is longer than EIP-170 allows."""


class NoGasForCode(OutOfGas):
    """A creation ran, but the gas did not suffice to store the code of the new contract."""


class StackUnderflow(InsufficientStack):
    """An instruction needs more words than the stack has. The message is geth's."""

    def __init__(self, have: int, want: int) -> None:
        super().__init__(f"stack underflow ({have} <=> {want})")

"""Reasons for a failed creation that py-evm tells only as a lack of gas."""

from __future__ import annotations

from eth.exceptions import InsufficientStack, OutOfGas

__all__ = ["CodeTooLarge", "NoGasForCode", "StackUnderflow"]


class CodeTooLarge(OutOfGas):
    """A new contract's code is longer than EIP-170 allows."""


class NoGasForCode(OutOfGas):
    """A creation ran, and had no gas left to store the new contract's code."""


class StackUnderflow(InsufficientStack):
    """An instruction found fewer words on the stack than it takes, in geth's words."""

    def __init__(self, have: int, want: int) -> None:
        super().__init__(f"stack underflow ({have} <=> {want})")

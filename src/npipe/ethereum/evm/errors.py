"""Reasons for a failed creation that py-evm tells only as a lack of gas."""

from __future__ import annotations

from eth.exceptions import OutOfGas

__all__ = ["CodeTooLarge", "NoGasForCode"]


class CodeTooLarge(OutOfGas):
    """A new contract's code is longer than EIP-170 allows."""


class NoGasForCode(OutOfGas):
    """A creation ran, and had no gas left to store the new contract's code."""

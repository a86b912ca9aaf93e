"""Transactions of accounts whose key nobody has: what a development chain lets one pretend.

Such a transaction has a signature that none can have: where the first number should be stands the
sender. So its hash is its own, and its sender is known again when the chain is read from a file.
Only here is such a thing believed: what comes signed is checked in ``transactions``.
"""

from __future__ import annotations

from typing import Any

from eth.abc import SignedTransactionAPI
from eth.vm.forks.berlin.transactions import AccessListTransaction
from eth.vm.forks.cancun.transactions import BlobTransaction
from eth.vm.forks.london.transactions import DynamicFeeTransaction
from eth.vm.forks.prague.transactions import (
    PragueLegacyTransaction,
    PragueTypedTransaction,
    SetCodeTransaction,
)

from npipe.ethereum.evm.kinds import kind_of

__all__ = ["Impersonated", "impersonate", "recognized", "simulated"]

_MARK = 1 << 160  # above an address: so the number is never 0
_KINDS = {
    1: AccessListTransaction,
    2: DynamicFeeTransaction,
    3: BlobTransaction,
    4: SetCodeTransaction,
}


class Impersonated(PragueTypedTransaction):
    """A typed transaction that says itself who sent it."""

    def get_sender(self) -> Any:
        """The sender that was pretended."""
        return (self.r - _MARK).to_bytes(20, "big")

    def check_signature_validity(self) -> None:
        """Nothing: there is none."""

    def validate(self) -> None:
        """Nothing: what it is made of was checked."""


def impersonate(unsigned: Any, sender: bytes) -> Impersonated:
    """Send an unsigned transaction of kind 2 or 4 as somebody else."""
    kind = kind_of(unsigned)
    values = [getattr(unsigned, name) for name, _ in unsigned._meta.fields]
    inner = _KINDS[kind](*values, 0, _MARK + int.from_bytes(sender, "big"), 1)
    return Impersonated(kind, inner)


class _Simulated(Impersonated):
    """A transaction of a simulation: its signature is zeros."""

    simulated_sender = b""

    def get_sender(self) -> Any:
        """The sender that was asked for."""
        return self.simulated_sender


class _SimulatedLegacy(PragueLegacyTransaction):
    """The same, of the oldest kind."""

    simulated_sender = b""

    def get_sender(self) -> Any:
        """The sender that was asked for."""
        return self.simulated_sender

    def check_signature_validity(self) -> None:
        """Nothing: there is none."""

    def validate(self) -> None:
        """Nothing: what it is made of was checked."""


def simulated(unsigned: Any, sender: bytes) -> Any:
    """As ``impersonate``, with the hash that it has before anybody signs it."""
    kind = kind_of(unsigned)
    values = [getattr(unsigned, name) for name, _ in unsigned._meta.fields]
    transaction: Any
    if kind:
        transaction = _Simulated(kind, _KINDS[kind](*values, 0, 0, 0))
    else:
        transaction = _SimulatedLegacy(*values, 0, 0, 0)
    transaction.simulated_sender = sender
    return transaction


def recognized(transaction: SignedTransactionAPI) -> SignedTransactionAPI:
    """A transaction that was read back from where this chain wrote it."""
    if transaction.s == 1 and transaction.r >> 160 == 1 and transaction.type_id in (2, 4):
        return Impersonated(transaction.type_id, transaction._inner)
    return transaction

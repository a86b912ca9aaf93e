"""Transactions of impersonated accounts, of which the node has no key.

Such a transaction has a signature that no key can produce: its first number holds the sender. So it
has a hash of its own, and its sender is known when the chain is loaded from a file. Only this
module accepts such signatures; those of sent transactions are verified in ``transactions``.
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

_MARK = 1 << 160  # a bit above an address, so that the number is never 0
_KINDS = {
    1: AccessListTransaction,
    2: DynamicFeeTransaction,
    3: BlobTransaction,
    4: SetCodeTransaction,
}


class Impersonated(PragueTypedTransaction):
    """A typed transaction whose signature holds its sender."""

    def get_sender(self) -> Any:
        """Return the impersonated sender."""
        return (self.r - _MARK).to_bytes(20, "big")

    def check_signature_validity(self) -> None:
        """Do nothing: there is no signature."""

    def validate(self) -> None:
        """Do nothing: the fields were checked before."""


def impersonate(unsigned: Any, sender: bytes) -> Impersonated:
    """Make a transaction of type 2 or 4 with ``sender`` in place of a signature."""
    kind = kind_of(unsigned)
    values = [getattr(unsigned, name) for name, _ in unsigned._meta.fields]
    inner = _KINDS[kind](*values, 0, _MARK + int.from_bytes(sender, "big"), 1)
    return Impersonated(kind, inner)


class _Simulated(Impersonated):
    """A transaction of a simulation; its signature is zeros."""

    simulated_sender = b""

    def get_sender(self) -> Any:
        """Return the requested sender."""
        return self.simulated_sender


class _SimulatedLegacy(PragueLegacyTransaction):
    """A legacy transaction of a simulation."""

    simulated_sender = b""

    def get_sender(self) -> Any:
        """Return the requested sender."""
        return self.simulated_sender

    def check_signature_validity(self) -> None:
        """Do nothing: there is no signature."""

    def validate(self) -> None:
        """Do nothing: the fields were checked before."""


def simulated(unsigned: Any, sender: bytes) -> Any:
    """Make a transaction of a simulation. Its hash is that of the unsigned transaction."""
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
    """Restore a transaction from the state file.

    It is Impersonated if its signature holds a sender.
    """
    if transaction.s == 1 and transaction.r >> 160 == 1 and transaction.type_id in (2, 4):
        return Impersonated(transaction.type_id, transaction._inner)
    return transaction

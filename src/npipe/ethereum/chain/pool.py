"""Transactions that are not in a block yet: by sender, then by nonce.

"Pending" transactions could be mined now, "queued" ones wait for an earlier nonce. The pool
executes nothing. The number of transactions is limited, because clients choose their senders.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Protocol

from npipe.ethereum.errors import ChainError
from npipe.ethereum.evm.blobs import gas_of

__all__ = ["Pool", "cost_of"]

_LIMIT = 5_120  # geth's own: 4096 executable and 1024 others
_BUMP = 110  # the fees of a replacement, in per cent of the old ones


class _Nonces(Protocol):
    def get_nonce(self, address: Any, /) -> int: ...


class Pool:
    """The pool. Used by one thread at a time."""

    def __init__(self) -> None:
        self._senders: dict[bytes, dict[int, Any]] = {}
        self._by_hash: dict[bytes, Any] = {}
        self._arrived: dict[bytes, int] = {}  # numbers in the order of arrival, by hash
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._by_hash)

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._by_hash.values()))

    def get(self, transaction_hash: bytes) -> Any | None:
        return self._by_hash.get(transaction_hash)

    def at(self, sender: bytes, nonce: int) -> Any | None:
        """Return the transaction of a sender with a nonce, or None."""
        return self._senders.get(sender, {}).get(nonce)

    def add(self, transaction: Any) -> None:
        """Add a transaction; it replaces one with its nonce if its fees are 10 % higher."""
        if transaction.hash in self._by_hash:
            raise ChainError("already known")
        old = self._senders.get(transaction.sender, {}).get(transaction.nonce)
        if old is not None:
            _check_replacement(old, transaction)
            self.discard(old)
        elif len(self) >= _LIMIT:
            raise ChainError("txpool is full")
        self._senders.setdefault(transaction.sender, {})[transaction.nonce] = transaction
        self._by_hash[transaction.hash] = transaction
        self._arrivals += 1
        self._arrived[transaction.hash] = self._arrivals

    def discard(self, transaction: Any) -> None:
        """Remove a transaction, if it is there."""
        if self._by_hash.pop(transaction.hash, None) is not None:
            del self._arrived[transaction.hash]
            nonces = self._senders[transaction.sender]
            del nonces[transaction.nonce]
            if not nonces:
                del self._senders[transaction.sender]

    def drop_stale(self, state: _Nonces) -> None:
        """Remove the transactions that can never be mined, because their nonce is used."""
        for sender in list(self._senders):
            following = state.get_nonce(sender)
            for nonce in [nonce for nonce in self._senders.get(sender, {}) if nonce < following]:
                self.discard(self._senders[sender][nonce])

    def pending(
        self, state: _Nonces, sender: bytes | None = None, *, base_fee: int = 0
    ) -> list[Any]:
        """Return the transactions that could be mined now, of one sender or all, in block order.

        The order is by priority fee at this base fee, in wei per unit of gas, then by arrival;
        those of one sender stay in the order of their nonces. A transaction that does not pay the
        base fee is left out, with all later ones of its sender.
        """
        runs = {
            address: self._run(address, state)
            for address in ([sender] if sender is not None else self._senders)
        }
        waiting: list[tuple[int, int, bytes, Any]] = []

        def push(address: bytes) -> None:
            following = next(runs[address], None)
            if following is not None and following.max_fee_per_gas >= base_fee:
                paid = min(following.max_priority_fee_per_gas, following.max_fee_per_gas - base_fee)
                place = self._arrived[following.hash]
                heapq.heappush(waiting, (-paid, place, address, following))

        for address in runs:
            push(address)
        ordered = []
        while waiting:
            _, _, address, transaction = heapq.heappop(waiting)
            ordered.append(transaction)
            push(address)
        return ordered

    def queued(self, state: _Nonces) -> list[Any]:
        """Return the transactions that wait for an earlier nonce."""
        pending = {transaction.hash for transaction in self.pending(state)}
        return [item for item in self._by_hash.values() if item.hash not in pending]

    def cost_before(self, sender: bytes, nonce: int) -> int:
        """Return the maximum cost of the sender's other transactions before this nonce, in wei."""
        return sum(
            cost_of(item) for other, item in self._senders.get(sender, {}).items() if other < nonce
        )

    def next_nonce(self, sender: bytes, state: _Nonces) -> int:
        """Return the next nonce of a sender, after its pending transactions."""
        return state.get_nonce(sender) + sum(1 for _ in self._run(sender, state))

    def copy(self) -> Pool:
        """Return another pool with the same transactions."""
        other = Pool()
        other._senders = {sender: dict(items) for sender, items in self._senders.items()}
        other._by_hash = dict(self._by_hash)
        other._arrived, other._arrivals = dict(self._arrived), self._arrivals
        return other

    def _run(self, sender: bytes, state: _Nonces) -> Iterator[Any]:
        items = self._senders.get(sender)
        if not items:
            return
        nonce = state.get_nonce(sender)
        while nonce in items:
            yield items[nonce]
            nonce += 1


def cost_of(transaction: Any) -> int:
    """Return the maximum cost of a transaction to its sender, in wei."""
    cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
    if blob_gas := gas_of(transaction):
        cost += blob_gas * transaction.max_fee_per_blob_gas
    return int(cost)


def _check_replacement(old: Any, new: Any) -> None:
    enough = (
        new.max_fee_per_gas * 100 >= old.max_fee_per_gas * _BUMP
        and new.max_priority_fee_per_gas * 100 >= old.max_priority_fee_per_gas * _BUMP
    )
    if not enough:
        raise ChainError("replacement transaction underpriced")

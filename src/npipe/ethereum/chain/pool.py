"""Transactions that are not in a block yet: by sender, then by nonce.

"Pending" are those that could be mined now, "queued" those that wait for an earlier nonce. Knows
nothing of execution. The number kept is bounded: the senders' keys are the callers' own.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Protocol

from npipe.ethereum.errors import ChainError
from npipe.ethereum.evm.blobs import gas_of

__all__ = ["Pool", "cost_of"]

_LIMIT = 5_120  # geth's own: 4096 executable and 1024 others
_BUMP = 110  # per cent of the old price that a replacement must offer


class _Nonces(Protocol):
    def get_nonce(self, address: Any, /) -> int: ...


class Pool:
    """What waits. One thread at a time."""

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
        """What waits of a sender with a nonce."""
        return self._senders.get(sender, {}).get(nonce)

    def add(self, transaction: Any) -> None:
        """Keep a transaction, in place of one with its nonce if it pays a tenth more."""
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
        """Forget a transaction, if it is there."""
        if self._by_hash.pop(transaction.hash, None) is not None:
            del self._arrived[transaction.hash]
            nonces = self._senders[transaction.sender]
            del nonces[transaction.nonce]
            if not nonces:
                del self._senders[transaction.sender]

    def drop_stale(self, state: _Nonces) -> None:
        """Forget what can never be mined any more, its nonce having been used."""
        for sender in list(self._senders):
            following = state.get_nonce(sender)
            for nonce in [nonce for nonce in self._senders.get(sender, {}) if nonce < following]:
                self.discard(self._senders[sender][nonce])

    def pending(
        self, state: _Nonces, sender: bytes | None = None, *, base_fee: int = 0
    ) -> list[Any]:
        """What could be mined now, of one sender or all, in the order of a block.

        That is by the tip that is paid at this base fee, in wei for a unit of gas, and by arrival
        where tips are equal; those of one sender stay in the order of their nonces. One that does
        not pay the base fee is left out, with all that its sender has after it.
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
        """What waits for an earlier nonce."""
        pending = {transaction.hash for transaction in self.pending(state)}
        return [item for item in self._by_hash.values() if item.hash not in pending]

    def cost_before(self, sender: bytes, nonce: int) -> int:
        """What the sender's other transactions may cost, up to this nonce, in wei."""
        return sum(
            cost_of(item) for other, item in self._senders.get(sender, {}).items() if other < nonce
        )

    def next_nonce(self, sender: bytes, state: _Nonces) -> int:
        """The nonce to use now: after those that could be mined."""
        return state.get_nonce(sender) + sum(1 for _ in self._run(sender, state))

    def copy(self) -> Pool:
        """Another pool with the same transactions."""
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
    """What a transaction may cost its sender at most, in wei."""
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

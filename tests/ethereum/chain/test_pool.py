"""What waits for a block: by sender and nonce, bounded, the best payers first."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from npipe.ethereum.chain import pool as module
from npipe.ethereum.chain.pool import Pool
from npipe.ethereum.errors import ChainError


@dataclass(frozen=True)
class Item:
    """The attributes of a transaction that the pool looks at."""

    sender: bytes
    nonce: int
    max_fee_per_gas: int = 100
    max_priority_fee_per_gas: int = 10
    gas: int = 21_000
    value: int = 0
    type_id: int = 2
    hash: bytes = field(init=False)

    def __post_init__(self) -> None:
        name = (self.sender, self.nonce, self.max_fee_per_gas, self.value)
        object.__setattr__(self, "hash", repr(name).encode())


class Nonces(dict[bytes, int]):
    """The state, as far as the pool asks it."""

    def get_nonce(self, address: bytes) -> int:
        return self.get(address, 0)


def filled(*items: Item) -> Pool:
    pool = Pool()
    for item in items:
        pool.add(item)
    return pool


def test_pending_is_what_follows_on_without_a_gap() -> None:
    items = [Item(b"a", nonce) for nonce in (2, 0, 1, 4)]
    pool = filled(*items)
    assert [item.nonce for item in pool.pending(Nonces())] == [0, 1, 2]
    assert [item.nonce for item in pool.queued(Nonces())] == [4]
    assert pool.next_nonce(b"a", Nonces()) == 3
    assert pool.next_nonce(b"b", Nonces({b"b": 7})) == 7


def test_the_best_payer_comes_first_and_nonces_stay_in_order() -> None:
    poor, rich = Item(b"poor", 0, max_priority_fee_per_gas=1), Item(b"rich", 0)
    later = Item(b"poor", 1, max_priority_fee_per_gas=99)
    assert filled(poor, later, rich).pending(Nonces()) == [rich, poor, later]
    assert filled(poor, later, rich).pending(Nonces(), b"poor") == [poor, later]


def test_the_same_is_known_and_another_must_pay_a_tenth_more() -> None:
    first = Item(b"a", 0)
    pool = filled(first)
    with pytest.raises(ChainError, match="already known"):
        pool.add(first)
    for cap, tip in ((109, 11), (110, 10)):
        with pytest.raises(ChainError, match="replacement transaction underpriced"):
            pool.add(Item(b"a", 0, cap, tip))
    better = Item(b"a", 0, 110, 11)
    pool.add(better)
    assert (len(pool), pool.get(first.hash), pool.get(better.hash)) == (1, None, better)


def test_it_can_be_full_and_a_replacement_still_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LIMIT", 2)
    pool = filled(Item(b"a", 0), Item(b"b", 0))
    with pytest.raises(ChainError, match="txpool is full"):
        pool.add(Item(b"c", 0))
    pool.add(Item(b"a", 0, 200, 20))
    assert len(pool) == 2


def test_used_nonces_are_dropped() -> None:
    pool = filled(*(Item(b"a", nonce) for nonce in range(3)), Item(b"b", 0))
    pool.drop_stale(Nonces({b"a": 2, b"b": 1}))
    assert [(item.sender, item.nonce) for item in pool] == [(b"a", 2)]


def test_what_was_promised_before_counts() -> None:
    pool = filled(Item(b"a", 0, value=5), Item(b"a", 1), Item(b"b", 0))
    assert pool.cost_before(b"a", 0) == 0
    assert pool.cost_before(b"a", 2) == 2 * 21_000 * 100 + 5


def test_a_copy_is_another_pool() -> None:
    item = Item(b"a", 0)
    pool = filled(item)
    copy = pool.copy()
    pool.discard(item)
    pool.discard(item)
    assert (len(pool), len(copy)) == (0, 1)
    copy.discard(item)
    assert list(copy) == []

"""A trie that is changed many times, beside the trie package's."""

from __future__ import annotations

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st
from trie import HexaryTrie

from npipe.ethereum.evm.trie import HashedTrie

CHANGES = st.lists(
    st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=40)), min_size=1, max_size=60
)


@given(CHANGES, st.integers(0, 60))
def test_every_root_and_every_node_is_that_of_the_trie_package(
    changes: list[tuple[int, bytes]], reopened: int
) -> None:
    theirs: dict[bytes, bytes] = {}
    ours: dict[bytes, bytes] = {}
    other, trie = HexaryTrie(theirs), HashedTrie(ours, HexaryTrie({}).root_hash)
    assert trie.root() == other.root_hash
    for number, (slot, value) in enumerate(changes):
        key = slot.to_bytes(32, "big")
        other[keccak(key)] = value
        if number == reopened:
            trie = HashedTrie(ours, trie.root())
        assert trie.get(key) in (None, *(value for _, value in changes))
        trie.set(key, value)
        assert trie.get(key) == value
        assert trie.root() == other.root_hash
    assert HexaryTrie(ours, other.root_hash).get(keccak(key)) == value
    assert {hash_: theirs[hash_] for hash_ in ours if hash_ in theirs} == ours
    assert trie.get(b"not there") is None


def test_a_thousand_keys() -> None:
    theirs: dict[bytes, bytes] = {}
    ours: dict[bytes, bytes] = {}
    other, trie = HexaryTrie(theirs), HashedTrie(ours, HexaryTrie({}).root_hash)
    for number in range(1_000):
        key = (number % 700).to_bytes(32, "big")
        other[keccak(key)] = number.to_bytes(8, "big")
        trie.set(key, number.to_bytes(8, "big"))
        assert trie.root() == other.root_hash
    reopened = HashedTrie(ours, trie.root())
    assert reopened.get((5).to_bytes(32, "big")) == (705).to_bytes(8, "big")


def test_a_node_that_is_missing_is_an_error() -> None:
    with pytest.raises(KeyError):
        HashedTrie({}, b"\1" * 32).get(b"key")

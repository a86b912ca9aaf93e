"""Merkle proofs of accounts and their storage (EIP-1186)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eth.rlp.accounts import Account
from eth_hash.auto import keccak
from rlp import decode, encode
from rlp.sedes import big_endian_int
from trie import HexaryTrie

from npipe.ethereum.values.types import data, quantity

__all__ = ["prove"]


def prove(
    store: Mapping[bytes, bytes], root: bytes, address: bytes, keys: list[tuple[int, str]]
) -> dict[str, Any]:
    """Return an account and storage slots, each with the trie's nodes from the state root.

    ``keys`` has the number of each slot, and its form in the result.
    """
    trie = HexaryTrie(store, root)
    hashed = keccak(address)
    raw = trie[hashed]
    account = decode(raw, sedes=Account) if raw else Account()
    return {
        "address": data(address),
        "accountProof": _nodes(trie, hashed),
        "balance": quantity(account.balance),
        "nonce": quantity(account.nonce),
        "codeHash": data(account.code_hash),
        "storageHash": data(account.storage_root),
        "storageProof": [
            _slot(HexaryTrie(store, account.storage_root), key, name) for key, name in keys
        ],
    }


def _slot(trie: HexaryTrie, key: int, name: str) -> dict[str, Any]:
    hashed = keccak(key.to_bytes(32, "big"))
    raw = trie[hashed]
    return {
        "key": name,
        "value": quantity(decode(raw, big_endian_int) if raw else 0),
        "proof": _nodes(trie, hashed),
    }


def _nodes(trie: HexaryTrie, key: bytes) -> list[str]:
    return [data(encode(node)) for node in trie.get_proof(key)]

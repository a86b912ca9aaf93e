"""A Merkle-Patricia trie that is changed many times in a row, each change giving a new root.

The trie package decodes and encodes the nodes of a path anew for each change. Here they stay
decoded, and each has the RLP by which its parent refers to it until something under it changes.
Keys are the hashes of others, all of one length, so that no branch has a value. Nothing is removed.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from eth_hash.auto import keccak
from rlp import decode, encode
from trie.constants import BLANK_NODE_HASH

__all__ = ["HashedTrie"]

_EMPTY = b"\x80"  # RLP of no bytes
_HASH_REF = b"\xa0"  # before a hash, in RLP


class _Node:
    """A leaf (``value``), an extension (``child``) or a branch (``children``)."""

    __slots__ = ("child", "children", "path", "ref", "value")

    def __init__(
        self,
        path: bytes = b"",
        value: bytes | None = None,
        child: _Node | bytes = b"",
        children: list[_Node | bytes] | None = None,
    ) -> None:
        self.path, self.value = path, value  # nibbles, and what they lead to
        self.child, self.children = child, children  # nodes, or RLP that refers to them; b"": none
        self.ref: bytes | None = None  # RLP that refers to this node; None since it was changed


class HashedTrie:
    """A trie under the hashes of its keys. New nodes go to the store by ``root`` only."""

    def __init__(self, store: MutableMapping[bytes, bytes], root: bytes) -> None:
        """Open a trie.

        Args:
            store: Encoded nodes by their hash.
            root: Hash of the root.
        """
        self._store = store
        self._top: _Node | bytes = b"" if root == BLANK_NODE_HASH else _HASH_REF + root

    def get(self, key: bytes) -> bytes | None:
        """Return the value under the hash of a key; None if there is none."""
        path, node = _nibbles(keccak(key)), self._top
        while node:
            opened = node if isinstance(node, _Node) else self._load(node)
            if opened.children is not None:
                path, node = path[1:], opened.children[path[0]]
                continue
            if not path.startswith(opened.path):
                return None
            if opened.value is not None:
                return opened.value
            path, node = path[len(opened.path) :], opened.child
        return None

    def set(self, key: bytes, value: bytes) -> None:
        """Put a value, which is not empty, under the hash of a key."""
        self._top = self._put(self._top, _nibbles(keccak(key)), value)

    def root(self) -> bytes:
        """Store what was changed and return the hash of the root."""
        if not self._top:
            return bytes(BLANK_NODE_HASH)
        ref = self._top if isinstance(self._top, bytes) else self._commit(self._top)
        if len(ref) == 33 and ref[:1] == _HASH_REF:
            return ref[1:]
        digest: bytes = keccak(ref)  # of a root that is shorter than a hash
        self._store[digest] = ref
        return digest

    def _put(self, node: _Node | bytes, path: bytes, value: bytes) -> _Node:
        if not node:
            return _Node(path, value)
        opened = node if isinstance(node, _Node) else self._load(node)
        opened.ref = None
        if opened.children is not None:
            opened.children[path[0]] = self._put(opened.children[path[0]], path[1:], value)
            return opened
        common = _common(opened.path, path)
        if common == len(opened.path):
            if opened.value is not None:
                opened.value = value
            else:
                opened.child = self._put(opened.child, path[common:], value)
            return opened
        children: list[_Node | bytes] = [b""] * 16
        rest = opened.path[common:]
        if opened.value is None and len(rest) == 1:
            children[rest[0]] = opened.child
        else:
            children[rest[0]] = _Node(rest[1:], opened.value, opened.child)
        children[path[common]] = _Node(path[common + 1 :], value)
        branch = _Node(children=children)
        return _Node(path[:common], child=branch) if common else branch

    def _commit(self, node: _Node | bytes) -> bytes:
        """Return the RLP that refers to a node, which is stored if it was changed."""
        if isinstance(node, bytes):
            return node or _EMPTY
        if node.ref is not None:
            return node.ref
        if node.children is not None:
            body = b"".join([self._commit(child) for child in node.children]) + _EMPTY
        elif node.value is not None:
            body = encode(_packed(node.path, 2)) + encode(node.value)
        else:
            body = encode(_packed(node.path, 0)) + self._commit(node.child)
        encoded = _list_prefix(len(body)) + body
        node.ref = encoded
        if len(encoded) >= 32:
            digest = keccak(encoded)
            self._store[digest] = encoded
            node.ref = _HASH_REF + digest
        return node.ref

    def _load(self, ref: bytes) -> _Node:
        whole = len(ref) == 33 and ref[:1] == _HASH_REF
        items: list[Any] = decode(self._store[ref[1:]] if whole else ref)
        if len(items) == 17:
            node = _Node(children=[_reference(item) for item in items[:16]])
        else:
            flags, path = items[0][0] >> 4, _nibbles(items[0])
            path = path[1:] if flags & 1 else path[2:]
            value, child = (items[1], b"") if flags & 2 else (None, _reference(items[1]))
            node = _Node(path, value, child)
        node.ref = ref
        return node


def _reference(item: Any) -> bytes:
    """Return the reference of a node to a child, as RLP; empty if there is none."""
    return encode(item) if item else b""


def _nibbles(octets: bytes) -> bytes:
    return bytes.fromhex("".join(f"0{digit}" for digit in octets.hex()))


def _packed(path: bytes, flags: int) -> bytes:
    """A path as nodes have it, with whether it is odd and whether a value follows."""
    odd = len(path) % 2
    nibbles = bytes([flags + odd]) + (b"" if odd else b"\0") + path
    return bytes(high << 4 | low for high, low in zip(nibbles[::2], nibbles[1::2], strict=True))


def _common(one: bytes, other: bytes) -> int:
    """Return the number of equal nibbles at the beginning."""
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))


def _list_prefix(size: int) -> bytes:
    """Return the RLP prefix of a list of this many bytes."""
    if size < 56:
        return bytes([0xC0 + size])
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([0xF7 + len(length)]) + length

"""Proofs are checked as a light client would: from the root down, by hash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import STORE

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

Call = Callable[..., Any]


def proven(root: str, key: bytes, proof: list[str]) -> bytes:
    """What the nodes of a proof say is at a key. Raises where they do not fit the root."""
    import rlp
    from eth_hash.auto import keccak
    from trie import HexaryTrie

    nodes = [rlp.decode(bytes.fromhex(node[2:])) for node in proof]
    value: bytes = HexaryTrie.get_from_proof(bytes.fromhex(root[2:]), keccak(key), nodes)
    return value


def test_an_account_and_its_storage_are_proven(
    call: Call, alice: str, deploy: Callable[[bytes], str]
) -> None:
    import rlp

    store = deploy(STORE)
    call("eth_sendTransaction", {"from": alice, "to": store, "input": f"0x{7:064x}"})
    root = call("eth_getBlockByNumber", "latest", False)["stateRoot"]
    account = call("eth_getProof", store, ["0x0", "0x1"], "latest")
    nonce, balance, storage, code = rlp.decode(
        proven(root, bytes.fromhex(store[2:]), account["accountProof"])
    )
    assert (nonce, balance) == (b"\x01", b"")
    assert (account["storageHash"], account["codeHash"]) == (
        "0x" + storage.hex(),
        "0x" + code.hex(),
    )
    set_slot, empty_slot = account["storageProof"]
    assert (set_slot["key"], set_slot["value"]) == ("0x0", "0x7")
    assert rlp.decode(proven(account["storageHash"], bytes(32), set_slot["proof"])) == b"\x07"
    assert (empty_slot["key"], empty_slot["value"]) == ("0x1", "0x0")
    assert proven(account["storageHash"], b"\0" * 31 + b"\1", empty_slot["proof"]) == b""


def test_that_there_is_no_account_is_proven_too(call: Call) -> None:
    nobody = "0x" + "77" * 20
    root = call("eth_getBlockByNumber", "latest", False)["stateRoot"]
    account = call("eth_getProof", nobody, [], "latest")
    assert (account["nonce"], account["balance"]) == ("0x0", "0x0")
    assert proven(root, bytes.fromhex(nobody[2:]), account["accountProof"]) == b""

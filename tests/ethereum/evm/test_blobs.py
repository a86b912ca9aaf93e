"""Blob transactions: taken with their blobs, kept without, and as a geth has it."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import assemble
from ethereum.direct import Direct
from ethereum.nodes import Node, receipt_of
from ethereum.schemas import RECEIPT, TRANSACTION
from npipe.errors import RPCError
from npipe.ethereum.evm import blobs
from npipe.rpc.service.api import API

account = pytest.importorskip("eth_account", reason="it makes the proofs")
ckzg = pytest.importorskip("ckzg", reason='the chain needs the extra "ethereum"')

KEY = "0x" + "07" * 32
SENDER = account.Account.from_key(KEY).address
OTHER = "0x" + "55" * 20
BLOB = b"\x00" * 31 + b"\x05" + b"\x00" * 131_040
FEES = {"maxFeePerGas": 10**11, "maxPriorityFeePerGas": 10**9, "maxFeePerBlobGas": 10**9}


@functools.cache
def commitment() -> tuple[bytes, bytes]:
    """The commitment to BLOB, and the proof."""
    made = ckzg.blob_to_kzg_commitment(BLOB, blobs._setup())
    return made, ckzg.compute_blob_kzg_proof(BLOB, made, blobs._setup())


def signed(nonce: int, count: int = 1, blob_fee: int = 10**9) -> list[Any]:
    """A transaction, its blobs, commitments and proofs, made by hand."""
    from eth.vm.forks.cancun.transactions import UnsignedBlobTransaction
    from eth_keys import keys
    from rlp import decode

    made, proof = commitment()
    name = b"\x01" + hashlib.sha256(made).digest()[1:]
    to = bytes.fromhex(OTHER[2:])
    unsigned = UnsignedBlobTransaction(
        1337, nonce, 10**9, 10**11, 50_000, to, 1, b"", (), blob_fee, [name] * count
    )
    item = unsigned.as_signed_transaction(keys.PrivateKey(bytes.fromhex(KEY[2:])))
    return [decode(item.encode()[1:]), [BLOB] * count, [made] * count, [proof] * count]


def raw_of(parts: list[Any]) -> str:
    from rlp import encode

    return "0x03" + encode(parts).hex()


def by_a_wallet(nonce: int) -> str:
    """As eth-account sends it today: with the proofs of cells."""
    fields = {"type": 3, "chainId": 1337, "to": OTHER, "value": 1, "gas": 50_000, "nonce": nonce}
    request = {**fields, **FEES, "data": "0x", "accessList": []}
    item = account.Account.from_key(KEY).sign_transaction(request, blobs=[BLOB])
    return "0x" + bytes(item.raw_transaction).hex()


def fund(node: Node) -> None:
    request = {"from": node.own["$me"], "to": SENDER, "value": hex(10**19)}
    receipt_of(node.call, node.call("eth_sendTransaction", request))


@pytest.fixture(scope="module")
def funded(theirs: Node, ours: Node) -> None:
    for node in (theirs, ours):
        fund(node)


def test_it_is_mined_as_geth_mines_it(theirs: Node, ours: Node, funded: None) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    told, wallet = [], by_a_wallet(0)
    for node in (theirs, ours):
        sent = node.call("eth_sendRawTransaction", wallet)
        receipt = receipt_of(node.call, sent)
        seen = node.call("eth_getTransactionByHash", sent)
        block = node.call("eth_getBlockByNumber", receipt["blockNumber"], False)
        fees = node.call("eth_feeHistory", "0x1", receipt["blockNumber"], [])
        told.append(
            {
                **{key: receipt[key] for key in ("status", "type", "gasUsed", "from", "to")},
                **{key: receipt[key] for key in ("blobGasUsed", "blobGasPrice")},
                **{key: seen[key] for key in ("hash", "type", "input", "accessList", "value")},
                **{key: seen[key] for key in ("blobVersionedHashes", "maxFeePerBlobGas")},
                **{key: block[key] for key in ("blobGasUsed", "excessBlobGas")},
                "fees": (fees["baseFeePerBlobGas"], fees["blobGasUsedRatio"]),
            }
        )
        if node is ours:
            jsonschema.validate(receipt, RECEIPT)
            jsonschema.validate(seen, TRANSACTION)
            raw = node.call("eth_getRawTransactionByHash", sent)
            assert len(raw) < 1_000  # the blobs are gone
            assert node.call("debug_traceTransaction", sent)["failed"] is False
    assert told[1] == told[0]


def test_what_does_not_fit_together_is_refused(ours: Node, funded: None) -> None:
    good, other = signed(5), b"\xc0" + bytes(47)
    short = [[*good[0][:10], *good[0][11:]], *good[1:]]
    for parts, words in (
        (good[0], "missing sidecar"),
        ([good[0], [], good[2], good[3]], "invalid number of 0 blobs: 1 blob hashes"),
        ([good[0], good[1], good[2], good[3] * 2], "invalid number of 2 proofs"),
        ([good[0], b"\x01", *good[1:]], "invalid number of 1 proofs"),
        ([good[0], good[1], [other], good[3]], "blob 0: computed hash .* mismatches"),
        ([good[0], good[1], good[2], [other]], "invalid blob: can't verify opening proof"),
        ([good[0], [BLOB[:-1]], good[2], good[3]], "a blob has 131072 bytes"),
        ([[], [], [], []], "blobless"),
        (short, "invalid number|mismatches|rlp|blobless"),
        ([[*good[0][:10], b"hashes", *good[0][11:]], *good[1:]], "blobless"),
        ([good[0], b"\x02", *good[1:]], "rlp: not a blob"),
        ([good[0], [[]], good[2], good[3]], "rlp: not a blob"),
        ([good[0], b"", b"", b""], "rlp: not a blob transaction"),
        (signed(5, 10), "too many blobs in transaction: have 10, permitted 9"),
        (signed(5, 1, 0), "max fee per blob gas less than block blob gas fee"),
    ):
        with pytest.raises(RPCError, match=words):
            ours.call("eth_sendRawTransaction", raw_of(parts))


def test_one_cannot_be_sent_from_here(ours: Node, funded: None) -> None:
    request = {"from": ours.own["$me"], "to": OTHER, "blobVersionedHashes": ["0x01" + "00" * 31]}
    with pytest.raises(RPCError, match="signing blob transactions not supported"):
        ours.call("eth_sendTransaction", request)


def test_a_call_sees_its_hashes_as_in_geth(theirs: Node, ours: Node) -> None:
    code = assemble("0x00 BLOBHASH BLOBBASEFEE ADD 0x00 MSTORE 0x20 0x00 RETURN")
    request = {"to": OTHER, "blobVersionedHashes": ["0x01" + "22" * 31]}
    params = (request, "latest", {OTHER: {"code": "0x" + code.hex()}})
    assert ours.call("eth_call", *params) == theirs.call("eth_call", *params)


def test_the_price_rises_and_a_state_file_keeps_all(tmp_path: Path) -> None:
    file = tmp_path / "chain"
    api = API()
    with ethereum.register(api, state_file=file):
        node = Node(Direct(api).call, {"$me": Direct(api).call("eth_accounts")[0]})
        fund(node)
        node.call("evm_setAutomine", False)
        for nonce in range(3):
            node.call("eth_sendRawTransaction", raw_of(signed(nonce, 6)))
        node.call("evm_mine")
        full = node.call("eth_getBlockByNumber", "latest", False)
        assert len(full["transactions"]) == 1  # two have twelve blobs, and nine is all that fits
        assert int(full["blobGasUsed"], 16) == 6 * blobs.GAS_PER_BLOB
        node.call("evm_mine")
    api = API()
    with ethereum.register(api, state_file=file):
        call = Direct(api).call
        call("evm_mine")  # the third had waited
        assert len(call("eth_getBlockByNumber", "latest", False)["transactions"]) == 1
        seen = call("eth_getTransactionByHash", full["transactions"][0])
        assert (seen["type"], seen["from"]) == ("0x3", SENDER.lower())
        assert call("eth_getTransactionCount", SENDER) == "0x3"
        assert call("eth_blobBaseFee") == "0x1"


def test_the_price_is_that_of_the_specification() -> None:
    fake = pytest.importorskip("eth._utils.calculations").fake_exponential
    for excess in (0, 1, 786_432, 10**7, 10**8, 3 * 10**8):
        assert blobs.base_fee(excess) == fake(1, excess, 5_007_716)

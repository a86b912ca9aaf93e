"""The same signed transactions on anvil, a chain that others wrote, and on ours.

What must be equal: status, gas, logs, bloom, addresses and hashes. Fees may differ: anvil does not
lower the base fee for its first block.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import npipe.rpc
from ethereum.contracts import LOGGER, LOOP, REVERT, STORE, assemble, init
from npipe.ethereum.chain.accounts import MNEMONIC
from peers.require import require

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

Call = Callable[..., Any]
PRICE = 10**10
FEES = {"maxFeePerGas": PRICE, "maxPriorityFeePerGas": 10**9}
ONE = "00" * 31 + "01"
#: x and y of the generator of BLS12-381's first group, each as 64 bytes.
G1 = (
    f"{0x17F1D3A73197D7942695638C4FA9AC0FC3688C4F9774B905A14E3A3F171BAC586C55E83FF97A1AEFFB3AF00ADB22C6BB:0128x}"
    f"{0x08B3F481E3AAA0F1A09E30ED741D8AE4FCF5E095D5D00AF600DB18CB2C04B3EDD03CC744A2888AE40CAA232946C5E7E1:0128x}"
)
#: A contract that creates another, an empty one, and returns its address.
FACTORY = assemble("0x00 0x00 0x00 CREATE 0x00 MSTORE 0x20 0x00 RETURN")


#: Not a contract to be, but code that sends its money to the caller and ends itself.
GONE = "0x" + assemble("CALLER SELFDESTRUCT").hex()


@pytest.fixture(scope="module")
def anvil() -> Iterator[Call]:
    program = require("anvil")
    with tempfile.TemporaryDirectory(prefix="np") as directory:
        path = Path(directory, "anvil.ipc")
        options = ["--hardfork", "prague", "--chain-id", "1337", "--mnemonic", MNEMONIC]
        process = subprocess.Popen(
            [program, "--silent", "--port", "0", *options, "--ipc", str(path)]
        )
        try:
            with npipe.rpc.connect(str(path), wait=True, timeout=60) as client:
                yield client.call
        finally:
            process.terminate()
            process.wait()


def transactions(contracts: list[str], other: str) -> list[tuple[str, dict[str, Any]]]:
    """Nineteen kinds. ``contracts``: where LOGGER, STORE, REVERT, LOOP and FACTORY will be."""
    logger, store, revert, loop, factory = contracts
    legacy, dynamic = {"gasPrice": PRICE}, FEES
    listed = {"accessList": [{"address": store, "storageKeys": ["0x" + "00" * 32]}]}
    value = {"to": other, "value": 7}
    return [
        ("deploy LOGGER", {"data": init(LOGGER), **dynamic}),
        ("deploy STORE", {"data": init(STORE), **legacy}),
        ("deploy REVERT", {"data": init(REVERT), **dynamic}),
        ("deploy LOOP", {"data": init(LOOP), **dynamic}),
        ("deploy FACTORY", {"data": init(FACTORY), **dynamic}),
        ("transfer, legacy", {**value, **legacy}),
        ("transfer, with an access list", {**value, **legacy, **listed}),
        ("transfer, dynamic fee", {**value, **dynamic}),
        ("a log", {"to": logger, "data": "0x" + ONE, **dynamic}),
        ("a slot is set", {"to": store, "data": "0x" + ONE, **dynamic}),
        ("a slot is set to what it is", {"to": store, "data": "0x" + ONE, **dynamic, **listed}),
        ("a slot is cleared", {"to": store, "data": "0x" + "00" * 32, **dynamic}),
        ("a revert", {"to": revert, "data": "0x1234", **dynamic}),
        ("out of gas", {"to": loop, "gas": 60_000, **dynamic}),
        ("a contract creates another", {"to": factory, **dynamic}),
        ("much call data (EIP-7623)", {"to": other, "data": "0x" + "ff" * 5000, **dynamic}),
        ("sha256 (precompile 2)", {"to": "0x" + "00" * 19 + "02", "data": "0x" + ONE, **dynamic}),
        (
            "BLS12 G1ADD (precompile 11)",
            {"to": "0x" + "00" * 19 + "0b", "data": "0x" + G1 * 2, **dynamic},
        ),
        ("a contract that destroys itself at once", {"data": GONE, "value": 9, **dynamic}),
    ]


def test_the_same_transactions_come_to_the_same(anvil: Call, call: Call) -> None:
    account_module = pytest.importorskip("eth_account")
    from eth_utils import to_checksum_address

    from npipe.ethereum.chain.accounts import derive

    sender = account_module.Account.from_key(derive(MNEMONIC, 1)[0].key_hex)
    other = "0x" + "5a" * 20
    contracts = [to_checksum_address(created(sender.address, nonce)) for nonce in range(5)]
    kinds = transactions(contracts, to_checksum_address(other))
    lent = sender.sign_authorization(
        {"chainId": 1337, "address": contracts[1], "nonce": len(kinds) + 1}
    )
    kinds.append(
        ("code is lent (EIP-7702)", {"to": sender.address, "authorizationList": [lent], **FEES})
    )
    kinds.append(("lent code runs", {"to": sender.address, "data": "0x" + ONE, **FEES}))
    assert len(kinds) == 21
    for name, fields in kinds:
        nonce = int(call("eth_getTransactionCount", sender.address), 16)
        request = {"chainId": 1337, "nonce": nonce, "gas": 500_000, "value": 0, **fields}
        raw = "0x" + sender.sign_transaction(request).raw_transaction.hex()
        theirs, ours = outcome(anvil, raw), outcome(call, raw)
        assert ours == theirs, name


def created(sender: str, nonce: int) -> bytes:
    """The address of the contract that a transaction creates."""
    from eth_hash.auto import keccak
    from rlp import encode

    return keccak(encode([bytes.fromhex(sender[2:]), nonce]))[12:]


def outcome(call: Call, raw: str) -> dict[str, Any]:
    """What came of a transaction, without what two chains need not agree on."""
    sent = call("eth_sendRawTransaction", raw)
    receipt = None
    while receipt is None:  # anvil answers before the block is there
        receipt = call("eth_getTransactionReceipt", sent)
    compared = ("status", "gasUsed", "cumulativeGasUsed", "contractAddress", "from", "to", "type")
    return {
        "hash": sent,
        "bloom": receipt["logsBloom"],
        "logs": [(log["address"], log["topics"], log["data"]) for log in receipt["logs"]],
        **{name: receipt[name] for name in compared},
    }


def test_the_least_gas_is_the_same(anvil: Call, call: Call, alice: str, bob: str) -> None:
    """eth_estimateGas, for what both know the answer of: anvil's is exact too."""
    for request in (
        {"from": alice, "to": bob, "value": "0x1"},
        {"from": alice, "to": bob, "input": "0x" + "ff" * 100},
        {"from": alice, "input": "0x" + init(LOGGER).hex()},
    ):
        assert call("eth_estimateGas", request) == anvil("eth_estimateGas", request)

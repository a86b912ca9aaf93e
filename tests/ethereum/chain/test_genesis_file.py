"""A genesis file and a file of blocks: read, executed, and refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import npipe.ethereum
from ethereum.conformance.test_geth_import import genesis_of, send_one_of_each
from ethereum.direct import Direct
from npipe.rpc.service.api import API

genesis_file = pytest.importorskip(
    "npipe.ethereum.chain.genesis_file", reason='the chain needs the extra "ethereum"'
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A chain that was made here, as its two files, and the hash of its newest block."""
    folder = tmp_path_factory.mktemp("chain")
    api = API()
    with npipe.ethereum.register(api, accounts=3) as service:
        call = Direct(api).call
        send_one_of_each(call, service)
        accounts = ["0x" + account.address.hex() for account in service.accounts]
        (folder / "genesis.json").write_text(json.dumps(genesis_of(call, accounts)))
        head = call("eth_getBlockByNumber", "latest", False)
        blocks = (call("debug_getRawBlock", hex(at)) for at in range(int(head["number"], 16) + 1))
        (folder / "chain.rlp").write_bytes(b"".join(bytes.fromhex(each[2:]) for each in blocks))
    return folder / "genesis.json", folder / "chain.rlp", head["hash"]


def served(genesis: Path, blocks: Path, **options: Any) -> Any:
    api = API()
    service = npipe.ethereum.register(
        api, genesis_file=genesis, import_file=blocks, accounts=3, chain_id=5, **options
    )
    return service, Direct(api).call


def test_a_chain_is_the_same_once_it_is_imported(
    files: tuple[Path, Path, str], tmp_path: Path
) -> None:
    genesis, blocks, head = files
    service, call = served(genesis, blocks, state_file=tmp_path / "state")
    with service:
        assert call("eth_getBlockByNumber", "latest", False)["hash"] == head
        assert call("eth_chainId") == "0x539" == hex(int(call("net_version")))
        assert service.chain_id == 1337
        sender, other = call("eth_accounts")[:2]
        sent = call("eth_sendTransaction", {"from": sender, "to": other, "value": "0x1"})
        assert call("eth_getTransactionReceipt", sent)["status"] == "0x1"
        newest = call("eth_getBlockByNumber", "latest", False)
    service, call = served(genesis, blocks, state_file=tmp_path / "state")
    with service:  # what was saved is gone on with, the blocks are not imported again
        assert call("eth_getBlockByNumber", "latest", False) == newest


def test_a_block_that_does_not_fit_is_named(files: tuple[Path, Path, str], tmp_path: Path) -> None:
    genesis, blocks, _ = files
    told = json.loads(genesis.read_text())
    told["alloc"][next(iter(told["alloc"]))]["balance"] = "0x1"
    (tmp_path / "other.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"block 1 does not follow 0"):
        served(tmp_path / "other.json", blocks)
    octets = blocks.read_bytes()
    for damaged in (octets[:-5], octets + b"\xc0"):
        (tmp_path / "cut.rlp").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"the data after \d+ blocks is not a block"):
            served(genesis, tmp_path / "cut.rlp")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("[]", 'no object "config"'),
        ('{"config": {"chainId": "x"}}', "chainId: 'x' is not a number"),
        ('{"config": {"homesteadBlock": -1}}', "homesteadBlock: expected a number, not -1"),
        ('{"config": {}, "alloc": 5}', '"alloc" is not an object'),
        ('{"config": {}, "alloc": {"0x1": {}}}', "address: '0x1' is not hex"),
        ('{"config": {}, "alloc": {"0x12": {}}}', "0x12 is not an address"),
        ('{"config": {}, "alloc": {"12": 5}}', "the account 12 is not an object"),
        ('{"config": {}, "gasLimit": "0x1g"}', "gasLimit: '0x1g' is not a number"),
        ('{"config": {"cancunTime": 0, "blobSchedule": {"cancun": {}}}}', "is not a blob schedule"),
    ],
)
def test_a_genesis_file_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        genesis_file.genesis_of(text.encode())


def test_blocks_need_a_genesis_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="import_file needs genesis_file"):
        npipe.ethereum.register(API(), import_file=tmp_path / "chain.rlp")

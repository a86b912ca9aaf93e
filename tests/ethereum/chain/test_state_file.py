"""The chain in a file: the same afterwards, whole or not at all, and never believed blindly."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import COUNTER, init
from ethereum.direct import Direct
from npipe.ethereum.chain import state_file
from npipe.rpc.service.api import API

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chain.state"


def run(file: Path, **options: Any) -> tuple[Direct, ethereum.Service]:
    api = API()
    service = ethereum.register(api, state_file=file, **options)
    return Direct(api), service


def test_a_chain_goes_on_where_it_was(file: Path) -> None:
    direct, service = run(file)
    with service:
        alice, bob = direct.call("eth_accounts")[:2]
        made = direct.call(
            "eth_sendTransaction", {"from": alice, "data": "0x" + init(COUNTER).hex()}
        )
        counter = direct.call("eth_getTransactionReceipt", made)["contractAddress"]
        direct.call("eth_sendTransaction", {"from": bob, "to": counter})
        moved = direct.call("evm_increaseTime", 1000)
        direct.call("evm_setAutomine", False)
        waiting = direct.call("eth_sendTransaction", {"from": bob, "to": alice, "value": "0x1"})
        before = [direct.call("eth_getBlockByNumber", hex(number), True) for number in range(3)] + [
            direct.call("eth_getBlockReceipts", "latest")
        ]
    direct, service = run(file)
    with service:
        after = [direct.call("eth_getBlockByNumber", hex(number), True) for number in range(3)] + [
            direct.call("eth_getBlockReceipts", "latest")
        ]
        assert after == before
        assert int(direct.call("eth_call", {"to": counter}), 16) == 2
        assert direct.call("eth_getTransactionByHash", waiting)["blockHash"] is None
        direct.call("evm_mine")
        assert direct.call("eth_getTransactionReceipt", waiting)["status"] == "0x1"
        assert direct.call("evm_increaseTime", 0) == moved


@pytest.mark.skipif(sys.platform == "win32", reason="modes are of POSIX")
def test_only_the_owner_can_read_it(file: Path) -> None:
    run(file)[1].close()
    assert file.stat().st_mode & 0o777 == 0o600


def test_nothing_but_the_file_is_left(file: Path) -> None:
    run(file)[1].close()
    run(file)[1].close()
    assert os.listdir(file.parent) == [file.name]


def test_a_failed_save_leaves_the_old_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(file)[1].close()
    before = file.read_bytes()
    direct, service = run(file)
    direct.call("evm_mine")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not be saved, and .* is as it was: No space left"):
        service.close()
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("octets", [b"", b"\x00", b"not a chain", b"{}", b"\x80"])
def test_another_file_is_no_chain(file: Path, octets: bytes) -> None:
    file.write_bytes(octets)
    with pytest.raises(ValueError, match="is not a saved chain"):
        run(file)
    assert file.read_bytes() == octets


def test_a_damaged_chain_is_refused(file: Path) -> None:
    direct, service = run(file)
    with service:
        direct.call("evm_mine")
        direct.call("evm_mine")
    saved = state_file.load(file)
    assert saved is not None
    del saved.blocks[1]
    state_file.save(file, saved)
    with pytest.raises(ValueError, match="damaged: block 1 does not follow"):
        run(file)
    saved.nodes.clear()
    state_file.save(file, saved)
    with pytest.raises(ValueError, match="damaged: the state of block 0 is not there"):
        run(file)


def test_another_chain_id_is_refused(file: Path) -> None:
    run(file)[1].close()
    with pytest.raises(ValueError, match="the saved chain has the id 1337, not 5"):
        run(file, chain_id=5)


def test_a_directory_that_is_not_there_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        run(tmp_path / "nowhere" / "chain.state")


def test_no_key_is_in_it(file: Path) -> None:
    _, service = run(file)
    service.close()
    octets = file.read_bytes()
    for account in service.accounts:
        key = bytes.fromhex(account.key_hex[2:])
        assert key not in octets and key.hex().encode() not in octets

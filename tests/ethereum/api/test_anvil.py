"""What test tools ask a development chain for: the namespaces anvil and hardhat, and ganache's."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import STORE, assemble
from ethereum.direct import Direct
from npipe.errors import RPCError
from npipe.rpc.service.api import API

Call = Callable[..., Any]
NOBODY = "0x" + "c0" * 20  # an account whose key nobody has
ETHER = hex(10**18)
PRICE = hex(10**10)


@pytest.fixture(params=["anvil", "hardhat"])
def cheat(call: Call, request: pytest.FixtureRequest) -> Call:
    """Calls a method of either namespace."""
    return lambda method, *params: call(f"{request.param}_{method}", *params)


def test_an_account_is_made_what_one_wants(call: Call, cheat: Call) -> None:
    head = call("eth_getBlockByNumber", "latest", False)
    cheat("setBalance", NOBODY, "0x64")
    cheat("addBalance", NOBODY, "0x1")
    cheat("setNonce", NOBODY, "0x5")
    cheat("setCode", NOBODY, "0x6001")
    assert cheat("setStorageAt", NOBODY, "0x7", "0x" + "00" * 31 + "2a") is True
    assert call("eth_getBalance", NOBODY) == "0x65"
    assert call("eth_getTransactionCount", NOBODY) == "0x5"
    assert call("eth_getCode", NOBODY) == "0x6001"
    assert call("eth_getStorageAt", NOBODY, "0x7") == "0x" + "00" * 31 + "2a"
    assert call("eth_getProof", NOBODY, [], "latest")["balance"] == "0x65"
    assert call("eth_getBlockByNumber", "latest", False) == head  # no block tells of it
    call("evm_mine")
    assert call("eth_getBalance", NOBODY) == "0x65"
    assert call("eth_getBalance", NOBODY, "0x0") == "0x65"


def test_what_was_altered_goes_with_a_snapshot(call: Call, cheat: Call) -> None:
    cheat("setBalance", NOBODY, "0x1")
    first = call("evm_snapshot")
    cheat("setBalance", NOBODY, "0x2")
    call("evm_mine")
    cheat("setBalance", NOBODY, "0x3")
    assert call("evm_revert", first) is True
    assert call("eth_getBalance", NOBODY) == "0x1"
    call("evm_mine")
    assert call("eth_getBalance", NOBODY) == "0x1"


def test_a_contract_that_was_put_there_works(call: Call, cheat: Call, alice: str) -> None:
    cheat("setCode", NOBODY, "0x" + STORE.hex())
    sent = call("eth_sendTransaction", {"from": alice, "to": NOBODY, "data": "0x" + "07" * 32})
    assert call("eth_getTransactionReceipt", sent)["status"] == "0x1"
    assert call("eth_getStorageAt", NOBODY, "0x0") == "0x" + "07" * 32
    assert call("debug_traceTransaction", sent)["failed"] is False


def test_somebody_else_sends(call: Call, cheat: Call, bob: str) -> None:
    request = {"from": NOBODY, "to": bob, "value": "0x7", "gas": "0x5208"}
    cheat("setBalance", NOBODY, ETHER)
    with pytest.raises(RPCError, match="unknown account"):
        call("eth_sendTransaction", request)
    cheat("impersonateAccount", NOBODY)
    sent = call("eth_sendTransaction", request)
    receipt = call("eth_getTransactionReceipt", sent)
    assert (receipt["from"], receipt["status"]) == (NOBODY, "0x1")
    seen = call("eth_getTransactionByHash", sent)
    assert (seen["from"], seen["type"], seen["nonce"]) == (NOBODY, "0x2", "0x0")
    assert call("eth_getTransactionCount", NOBODY) == "0x1"
    other = call("eth_sendTransaction", {**request, "gasPrice": PRICE, "nonce": "0x1"})
    assert call("eth_getTransactionReceipt", other)["effectiveGasPrice"] == PRICE
    cheat("stopImpersonatingAccount", NOBODY)
    with pytest.raises(RPCError, match="unknown account"):
        call("eth_sendTransaction", request)
    raw = call("eth_getRawTransactionByHash", sent)
    with pytest.raises(RPCError):  # nobody else's signature is believed
        call("eth_sendRawTransaction", raw)


def test_a_contract_sends_and_anybody_may(call: Call, cheat: Call, bob: str) -> None:
    cheat("setCode", NOBODY, "0x00")
    cheat("setBalance", NOBODY, ETHER)
    cheat("autoImpersonateAccount", True)
    sent = call("eth_sendTransaction", {"from": NOBODY, "to": bob, "value": "0x1"})
    assert call("eth_getTransactionReceipt", sent)["from"] == NOBODY
    cheat("autoImpersonateAccount", False)
    sent = call("eth_sendUnsignedTransaction", {"from": NOBODY, "to": bob, "value": "0x1"})
    assert call("eth_getTransactionReceipt", sent)["from"] == NOBODY


def test_a_state_file_keeps_who_sent_and_what_was_altered(tmp_path: Path) -> None:
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    file = tmp_path / "chain"
    api = API()
    with ethereum.register(api, state_file=file) as service:
        call, bob = Direct(api).call, service.accounts[1].address_hex
        call("anvil_setBalance", NOBODY, ETHER)
        sent = call("eth_sendUnsignedTransaction", {"from": NOBODY, "to": bob, "value": "0x1"})
        call("evm_setAutomine", False)
        waits = call("eth_sendUnsignedTransaction", {"from": NOBODY, "to": bob, "gas": "0x5208"})
        call("anvil_setNonce", bob, "0x9")
        call("evm_setBlockGasLimit", "0x1000000")
        call("evm_mine")
        call("anvil_setNonce", bob, "0xa")
    api = API()
    with ethereum.register(api, state_file=file):
        call = Direct(api).call
        for item in (sent, waits):
            assert call("eth_getTransactionByHash", item)["from"] == NOBODY
        assert call("eth_getTransactionCount", bob) == "0xa"
        assert call("eth_getTransactionCount", bob, "0x2") == "0xa"
        call("evm_mine")
        assert call("eth_getBlockByNumber", "latest", False)["gasLimit"] == "0x1000000"


def test_blocks_are_mined_some_time_apart(call: Call, cheat: Call) -> None:
    cheat("mine")
    cheat("mine", "0x3", "0x3c")
    times = [
        int(call("eth_getBlockByNumber", hex(number), False)["timestamp"], 16)
        for number in range(1, 5)
    ]
    assert [b - a for a, b in itertools.pairwise(times[1:])] == [60, 60]
    cheat("mine", "0x2", "0x0")
    assert call("eth_blockNumber") == "0x6"


def test_the_next_block_is_made_what_one_wants(call: Call, cheat: Call, alice: str) -> None:
    cheat("setNextBlockBaseFeePerGas", "0x7b")
    cheat("setPrevRandao", "0x" + "44" * 32)
    cheat("setCoinbase", NOBODY)
    cheat("setBlockGasLimit", "0xf4240")
    sent = call("eth_sendTransaction", {"from": alice, "to": alice, "maxPriorityFeePerGas": "0x1"})
    block = call("eth_getBlockByNumber", "latest", False)
    assert block["baseFeePerGas"] == "0x7b"
    assert block["mixHash"] == "0x" + "44" * 32
    assert (block["miner"], block["gasLimit"]) == (NOBODY, "0xf4240")
    assert call("eth_getBalance", NOBODY) == hex(21_000)
    assert call("debug_traceTransaction", sent)["gas"] == 21_000
    cheat("mine")
    block = call("eth_getBlockByNumber", "latest", False)
    assert block["mixHash"] != "0x" + "44" * 32
    assert 0 < int(block["baseFeePerGas"], 16) < 0x7B  # it goes on from there
    with pytest.raises(RPCError, match="exceeds block gas limit"):
        call("eth_sendTransaction", {"from": alice, "to": alice, "gas": "0xf4241"})
    with pytest.raises(RPCError, match="EIP-1559"):
        cheat("setMinGasPrice", "0x1")
    with pytest.raises(RPCError, match="at least 5000"):
        cheat("setBlockGasLimit", "0x1")


def test_time_is_made_what_one_wants(call: Call, cheat: Call) -> None:
    now = int(time.time())
    assert cheat("setTime", hex(now + 1_000)) == pytest.approx(1_000, abs=5)
    cheat("setBlockTimestampInterval", "0x7")
    cheat("mine", "0x3")
    times = [
        int(call("eth_getBlockByNumber", hex(number), False)["timestamp"], 16)
        for number in range(4)
    ]
    assert times == [times[0] + 7 * number for number in range(4)]
    assert cheat("removeBlockTimestampInterval") is True
    assert cheat("removeBlockTimestampInterval") is False
    with pytest.raises(RPCError):
        cheat("setBlockTimestampInterval", "0x0")


def test_the_chain_begins_again(call: Call, cheat: Call, alice: str, bob: str) -> None:
    request = {"from": alice, "to": bob, "value": "0x1"}
    before = call("eth_getBalance", bob)
    sent = call("eth_sendTransaction", request)
    cheat("setBalance", bob, "0x1")
    snapshot = call("evm_snapshot")
    cheat("reset")
    assert call("eth_blockNumber") == "0x0"
    assert call("eth_getBalance", bob) == before
    assert call("evm_revert", snapshot) is False
    assert call("eth_getTransactionByHash", sent) is None
    assert call("eth_sendTransaction", request) == sent
    cheat("reset", {"forking": {"blockNumber": None}})  # as viem has it
    with pytest.raises(RPCError, match="cannot be forked"):
        cheat("reset", {"forking": {"jsonRpcUrl": "http://node.example"}})


def test_what_waits_is_dropped(call: Call, cheat: Call, alice: str, bob: str) -> None:
    call("evm_setAutomine", False)
    assert cheat("getAutomine") is False
    request = {"from": alice, "to": bob, "gas": "0x5208"}
    first, _second = (call("eth_sendTransaction", request) for _ in range(2))
    assert cheat("dropTransaction", first) == first
    assert cheat("dropTransaction", first) is None
    cheat("dropAllTransactions")
    assert call("txpool_status") == {"pending": "0x0", "queued": "0x0"}


def test_the_node_tells_who_it_is(call: Call, cheat: Call) -> None:
    cheat("mine", "0x2")
    cheat("setLoggingEnabled", False)
    info, metadata = cheat("nodeInfo"), cheat("metadata")
    assert (info["currentBlockNumber"], info["hardFork"]) == ("0x2", "Prague")
    assert info["environment"]["chainId"] == metadata["chainId"] == 1337
    assert metadata["latestBlockHash"] == info["currentBlockHash"]


def test_ganache_s_names(call: Call) -> None:
    assert call("evm_setAccountBalance", NOBODY, "0x5") is True
    assert call("evm_setAccountNonce", NOBODY, "0x6") is True
    assert call("evm_setAccountCode", NOBODY, "0x00") is True
    assert call("evm_setAccountStorageAt", NOBODY, "0x1", "0x2") is True
    assert call("eth_getBalance", NOBODY) == "0x5"
    assert call("eth_getStorageAt", NOBODY, "0x1") == "0x" + "00" * 31 + "02"


def test_a_contract_reads_what_was_altered_in_a_pending_block(call: Call, cheat: Call) -> None:
    cheat("setCode", NOBODY, "0x" + assemble("PREVRANDAO 0x00 MSTORE 0x20 0x00 RETURN").hex())
    cheat("setPrevRandao", "0x" + "55" * 32)
    assert call("eth_call", {"to": NOBODY}, "pending") == "0x" + "55" * 32


def test_a_transaction_is_filled_in_and_not_sent(call: Call, alice: str, bob: str) -> None:
    filled = call("eth_fillTransaction", {"from": alice, "to": bob, "value": "0x1"})
    assert filled["raw"][:4] == "0x02"
    tx = filled["tx"]
    assert (tx["nonce"], tx["gas"], tx["type"], tx["r"]) == ("0x0", "0x5208", "0x2", "0x0")
    old = call("eth_fillTransaction", {"from": alice, "to": bob, "gasPrice": PRICE})["tx"]
    assert (old["type"], old["gasPrice"]) == ("0x0", PRICE)
    assert call("eth_getTransactionCount", alice, "pending") == "0x0"

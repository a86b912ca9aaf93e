"""The methods of test tools, beside a real anvil: results, errors, and what they did.

Both chains begin alike: the same accounts, chain id and fork. Every step is sent to both; the
answers are equal, or the step is in ``OTHERWISE`` with the reason. Of errors the code is compared.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import npipe.ethereum
import npipe.rpc
from ethereum.direct import Direct
from npipe.errors import RPCError
from npipe.rpc.service.api import API
from peers.require import NODE_MODULES, require

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

X, Y = "0x" + "12" * 20, "0x" + "34" * 20
ME = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
WORD = "0x" + "0" * 63
ETHER = "0xde0b6b3a7640000"
FEES = {"gas": "0x5208", "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1"}


def send(nonce: int) -> tuple[Any, ...]:
    request = {"from": ME, "to": Y, "value": "0x1", "nonce": hex(nonce), **FEES}
    return "eth_sendTransaction", request


def as_y() -> tuple[Any, ...]:
    return "eth_sendTransaction", {"from": Y, "to": X, "value": "0x1", "gas": "0x5208"}


#: What the newest block says under a name.
NEWEST = "newest block"
STEPS: dict[str, list[tuple[Any, ...]]] = {
    "accounts": [
        *(("anvil_setBalance", X, ETHER), ("eth_getBalance", X, "latest")),
        *(("hardhat_setBalance", X, "0x1"), ("eth_getBalance", X, "latest")),
        *(("anvil_addBalance", X, "0x10"), ("eth_getBalance", X, "latest")),
        *(("anvil_setCode", X, "0x6001600155"), ("eth_getCode", X, "latest")),
        *(("hardhat_setCode", X, "0x"), ("eth_getCode", X, "latest")),
        *(("anvil_setNonce", X, "0x5"), ("eth_getTransactionCount", X, "latest")),
        *(("hardhat_setNonce", X, "0x3"), ("eth_getTransactionCount", X, "latest")),
        *(("anvil_setStorageAt", X, "0x1", WORD + "7"), ("eth_getStorageAt", X, "0x1", "latest")),
        *(("hardhat_setStorageAt", X, "0x2", WORD + "9"), ("eth_getStorageAt", X, "0x2", "latest")),
        *(("anvil_setBalance", X), ("anvil_setBalance", "0x12", "0x1")),
        *(("anvil_setBalance", X, "zz"), ("anvil_setCode", X, "0x1")),
    ],
    "blocks": [
        *(("anvil_getAutomine",), ("evm_mine",), ("anvil_mine", "0x3"), ("eth_blockNumber",)),
        *(("hardhat_mine", "0x2", "0x3c"), ("eth_blockNumber",), ("anvil_mine", 100)),
        *(("eth_blockNumber",), ("hardhat_mine", "0x0"), ("eth_blockNumber",)),
    ],
    "fees and headers": [
        *(("anvil_setNextBlockBaseFeePerGas", "0x3b9aca00"), ("evm_mine",)),
        *((NEWEST, "baseFeePerGas"), ("hardhat_setNextBlockBaseFeePerGas", "0x5"), ("evm_mine",)),
        *((NEWEST, "baseFeePerGas"), ("evm_mine",), (NEWEST, "baseFeePerGas")),
        *(("anvil_setCoinbase", X), ("evm_mine",), (NEWEST, "miner")),
        *(("hardhat_setCoinbase", Y), ("evm_mine",), (NEWEST, "miner")),
        *(("evm_setBlockGasLimit", "0x1c9c381"), ("evm_mine",), (NEWEST, "gasLimit")),
        *(("evm_mine",), (NEWEST, "gasLimit"), ("anvil_setBlockGasLimit", "0x1c9c380")),
    ],
    "time": [
        *(("evm_setNextBlockTimestamp", "0xffffffff"), ("evm_mine",), (NEWEST, "timestamp")),
        *(("anvil_setNextBlockTimestamp", 0x100000010), ("evm_mine",), (NEWEST, "timestamp")),
        *(("anvil_setBlockTimestampInterval", 7), ("evm_mine",), (NEWEST, "timestamp")),
        *(("evm_mine",), (NEWEST, "timestamp"), ("anvil_removeBlockTimestampInterval",)),
        *(("anvil_removeBlockTimestampInterval",), ("anvil_mine", "0x3", "0x64")),
        *(("evm_setIntervalMining", 0), ("anvil_setIntervalMining", 0)),
    ],
    "snapshots": [
        *(("anvil_setBalance", Y, "0x5"), ("evm_snapshot",), ("anvil_setBalance", Y, "0x99")),
        *(("evm_mine",), ("anvil_snapshot",), ("evm_mine",), ("evm_revert", "first")),
        *(("eth_getBalance", Y, "latest"), ("eth_blockNumber",), ("evm_revert", "0x77")),
        *(("evm_snapshot",), ("evm_mine",), ("anvil_revert", "last"), ("eth_blockNumber",)),
    ],
    "the pool": [
        *(("evm_setAutomine", False), ("anvil_getAutomine",), ("hardhat_getAutomine",), send(0)),
        *(("txpool_status",), ("eth_blockNumber",), ("evm_mine",), ("eth_blockNumber",)),
        *(("txpool_status",), ("eth_getTransactionCount", ME, "latest"), send(1)),
        *(("anvil_dropTransaction", "sent"), ("txpool_status",)),
        *(("anvil_dropTransaction", "0x" + "ab" * 32), send(1), ("txpool_status",)),
        *(("anvil_dropAllTransactions",), ("txpool_status",), send(1), send(2)),
        *(("evm_setAutomine", True), ("txpool_status",)),
        ("eth_getTransactionCount", ME, "latest"),
    ],
    "impersonation": [
        *(("anvil_setBalance", Y, ETHER), as_y(), ("anvil_impersonateAccount", Y), as_y()),
        *(("eth_getTransactionCount", Y, "latest"), ("eth_getBalance", X, "latest")),
        *(("anvil_stopImpersonatingAccount", Y), as_y(), ("anvil_autoImpersonateAccount", True)),
        *(as_y(), ("hardhat_autoImpersonateAccount", False), as_y()),
        *(("hardhat_impersonateAccount", Y), as_y(), ("hardhat_stopImpersonatingAccount", Y)),
    ],
    "the node": [
        *(("anvil_setLoggingEnabled", False), ("hardhat_setLoggingEnabled", True)),
        *(("anvil_setMinGasPrice", "0x1"), ("hardhat_setMinGasPrice", "0x1")),
        *(("anvil_nodeInfo",), ("anvil_metadata",), ("hardhat_metadata",)),
        *(("anvil_mine", "0x5"), ("anvil_reset",), ("eth_blockNumber",)),
        *(("anvil_setBalance", X, "0x5"), ("hardhat_reset",), ("eth_getBalance", X, "latest")),
    ],
    "of one of the two": [
        *(("evm_revert", "0x0"), ("evm_setTime", "0x1"), ("hardhat_setPrevRandao", WORD + "1")),
        *(("evm_mine", {"blocks": 3}), ("evm_setAccountBalance", X, "0x5")),
        *(("anvil_removePoolTransactions", X), ("anvil_rollback", 1), ("anvil_dumpState",)),
        *(("anvil_getIntervalMining",), ("anvil_getGenesisTime",), ("anvil_setChainId", 1337)),
        *(("anvil_setRpcUrl", "http://x"), ("anvil_loadState", "0x")),
    ],
}
#: Methods that answer otherwise, and why.
OTHERWISE = {
    "evm_revert 0x0": "a snapshot that was never taken is false here",
    "evm_snapshot": "ids begin at 1, as with ganache and hardhat",
    "anvil_snapshot": "ids begin at 1, as with ganache and hardhat",
    "evm_setAutomine": "true, as with ganache and hardhat; anvil says null",
    "evm_setTime": "the distance from the system's clock, as with ganache",
    "anvil_setMinGasPrice": "-32000 as all that the chain refuses",
    "hardhat_setMinGasPrice": "-32000 as all that the chain refuses",
    "hardhat_setPrevRandao": "hardhat's; anvil lacks it",
    "evm_setAccountBalance": "ganache's; anvil lacks it",
    "evm_mine {'blocks': 3}": "ganache's object is accepted; anvil lacks it",
    **dict.fromkeys(
        (
            f"anvil_{name}"
            for name in (
                *("removePoolTransactions", "rollback", "dumpState", "loadState", "setRpcUrl"),
                *("getIntervalMining", "getGenesisTime", "setChainId"),
            )
        ),
        "not here",
    ),
}
#: What differs by nature in the objects that are told.
OWN = {
    "currentBlockHash",
    "latestBlockHash",
    "instanceId",
    "clientVersion",
    "clientSemver",
    "clientCommitSha",
    "currentBlockTimestamp",
    "baseFee",  # of the first block after the genesis, anvil's is the genesis' own
    "gasPrice",
}


class Chain:
    """One of the two, and what it has told that later steps name."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call
        self.named: dict[str, Any] = {}

    def step(self, method: str, *params: Any) -> Any:
        """Return what came of a step: the result without what differs by nature, or the error."""
        params = tuple(
            self.named.get(each, each) if isinstance(each, str) else each for each in params
        )
        try:
            if method == NEWEST:
                return self.call("eth_getBlockByNumber", "latest", False)[params[0]]
            result = self.call(method, *params)
        except RPCError as error:  # the module eth has geth's codes
            return ("error", error.code) if not method.startswith("eth_") else "error"
        if method.endswith("_snapshot"):
            self.named.setdefault("first", result)
            self.named["last"] = result
        if method == "eth_sendTransaction":
            self.named["sent"] = result
            return "sent"
        if method == "anvil_dropTransaction":
            return result and "the hash"

        def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            return {name: value for name, value in pairs if name not in OWN}

        return json.loads(json.dumps(result), object_pairs_hook=keep)


@pytest.fixture
def theirs() -> Iterator[Chain]:
    require("anvil")
    anvil = next((NODE_MODULES / "@foundry-rs").glob("anvil-*/bin/anvil"))
    with tempfile.TemporaryDirectory(prefix="np") as directory:
        path = str(Path(directory) / "anvil.ipc")
        options = ("--port", "0", "--chain-id", "1337", "--hardfork", "prague", "--silent")
        with subprocess.Popen(
            [anvil, "--ipc", path, *options], stdout=subprocess.DEVNULL
        ) as process:
            try:
                with npipe.rpc.connect(path, reconnect=60, timeout=60) as client:
                    yield Chain(client.call)
            finally:
                process.terminate()


@pytest.fixture
def ours() -> Iterator[Chain]:
    api = API()
    with npipe.ethereum.register(api):
        yield Chain(Direct(api).call)


@pytest.mark.parametrize("name", STEPS)
def test_the_same_steps_do_the_same(name: str, ours: Chain, theirs: Chain) -> None:
    assert ours.call("eth_accounts")[0] == theirs.call("eth_accounts")[0] == ME
    seen = 0
    for step in STEPS[name]:
        here, there = ours.step(*step), theirs.step(*step)
        seen += here == there
        named = " ".join(map(str, step))
        assert here == there or not {step[0], named}.isdisjoint(OTHERWISE), step
    assert seen >= len(STEPS[name]) // 2 or name == "of one of the two"

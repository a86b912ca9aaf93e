"""geth imports the blocks that are made here, unpatched: every rule of validity is kept.

The genesis that geth is given is written from ours: same accounts, same forks, nothing else.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import npipe.ethereum
from ethereum.contracts import COUNTER, REVERT, assemble, init
from ethereum.direct import Direct
from npipe.ethereum.values.types import data
from npipe.rpc.service.api import API
from peers.require import require

system_contracts = pytest.importorskip(
    "npipe.ethereum.evm.system_contracts", reason='the chain needs the extra "ethereum"'
)

FORKS = (
    *("homestead", "eip150", "eip155", "eip158", "byzantium", "constantinople", "petersburg"),
    *("istanbul", "berlin", "london", "mergeNetsplit"),
)
SCHEDULE = {
    "cancun": {"target": 3, "max": 6, "baseFeeUpdateFraction": 3_338_477},
    "prague": {"target": 6, "max": 9, "baseFeeUpdateFraction": 5_007_716},
}
WITHDRAWALS, CONSOLIDATIONS = (
    data(system_contracts.ADDRESSES[f"{name}_REQUEST_PREDEPLOY_ADDRESS"])
    for name in ("WITHDRAWAL", "CONSOLIDATION")
)


def genesis_of(call: Any, accounts: list[str]) -> dict[str, Any]:
    """The genesis file that describes our first block to geth."""
    first = call("eth_getBlockByNumber", "0x0", False)
    contracts = {data(address): data(code) for address, code in system_contracts.CODES.items()}
    return {
        "config": {
            "chainId": int(call("eth_chainId"), 16),
            **{f"{name}Block": 0 for name in FORKS},
            **{f"{name}Time": 0 for name in ("shanghai", "cancun", "prague")},
            "terminalTotalDifficulty": 0,
            "depositContractAddress": data(system_contracts.ADDRESSES["DEPOSIT_CONTRACT_ADDRESS"]),
            "blobSchedule": SCHEDULE,
        },
        "difficulty": "0x0",
        **{name: first[name] for name in ("timestamp", "extraData", "gasLimit", "baseFeePerGas")},
        "alloc": {
            **{name: {"balance": call("eth_getBalance", name, "0x0")} for name in accounts},
            **{
                name: {"balance": "0x0", "nonce": "0x1", "code": code}
                for name, code in contracts.items()
            },
        },
    }


def send_one_of_each(call: Any, service: npipe.ethereum.Service) -> None:
    """Blocks with every type of transaction, failures, requests and creations in them."""
    from ethereum.evm.test_blobs import SENDER, raw_of, signed

    me, other = ("0x" + account.address.hex() for account in service.accounts[:2])
    sent = call("eth_sendTransaction", {"from": me, "input": data(init(COUNTER))})
    counter = call("eth_getTransactionReceipt", sent)["contractAddress"]
    price = {"gasPrice": "0x77359400"}
    fees = {"maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1"}
    entry = [{"address": counter, "storageKeys": ["0x" + "00" * 32]}]
    for request in (
        {"to": other, "value": "0x1", **price},
        {"to": counter, "accessList": entry, **price},
        {"to": counter, "accessList": entry, **fees},
        {"to": counter, "authorizationList": [_authorization(service)], **fees},
        {"to": "0x" + service.accounts[1].address.hex(), **fees},
        {"input": data(init(REVERT)), **fees},
        {"input": "0x" + "00" * 10, "gas": "0xcf32", **fees},  # 2 more than 53040 (EIP-3860)
        {"input": data(assemble("0x00 0x00 REVERT")), "gas": "0x186a0", **fees},
        {"input": data(assemble("CALLER SELFDESTRUCT")), "value": "0x5", **fees},
        {"to": counter, "gas": "0x5a00", **fees},
        {"to": WITHDRAWALS, "value": "0x64", "input": "0x" + "11" * 56, **fees},
        {"to": CONSOLIDATIONS, "value": "0x64", "input": "0x" + "22" * 96, **fees},
    ):
        call("eth_sendTransaction", {"from": me, "gas": "0x493e0", **request})
    call("eth_sendTransaction", {"from": me, "to": SENDER, "value": hex(10**19)})
    call("eth_sendRawTransaction", raw_of(signed(0, 1)))
    call("evm_setAutomine", False)
    for number in range(4):
        call("eth_sendTransaction", {"from": me, "to": counter, "gas": "0x186a0", **fees})
        call("eth_sendTransaction", {"from": other, "to": me, "value": hex(number), **fees})
    call("evm_mine")
    call("evm_increaseTime", "0x1000")
    call("evm_mine", {"blocks": 30})


def _authorization(service: npipe.ethereum.Service) -> dict[str, str]:
    from eth_hash.auto import keccak
    from rlp import encode

    target = b"\x11" * 20
    body = encode([service.chain_id, target, 0])
    signature = service.accounts[1].key.sign_msg_hash(keccak(b"\x05" + body))
    return {
        "chainId": hex(service.chain_id),
        "address": data(target),
        "nonce": "0x0",
        "yParity": hex(signature.v),
        "r": hex(signature.r),
        "s": hex(signature.s),
    }


def test_geth_imports_our_blocks(tmp_path: Path) -> None:
    geth = require("geth")
    api = API()
    with npipe.ethereum.register(api) as service:
        call = Direct(api).call
        send_one_of_each(call, service)
        accounts = ["0x" + account.address.hex() for account in service.accounts]
        genesis = genesis_of(call, accounts)
        head = int(call("eth_blockNumber"), 16)
        blocks = [call("debug_getRawBlock", hex(number)) for number in range(1, head + 1)]
        ours = call("eth_getBlockByNumber", "latest", False)["hash"]
        assert int(call("eth_getBlockByNumber", "0xc", False)["requestsHash"], 16)
    (tmp_path / "genesis.json").write_text(json.dumps(genesis))
    (tmp_path / "chain.rlp").write_bytes(b"".join(bytes.fromhex(block[2:]) for block in blocks))

    def run(*arguments: str) -> str:
        options = ["--datadir", tmp_path / "data", "--state.scheme", "hash"]
        command = [geth, arguments[0], *options, *arguments[1:]]
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout + done.stderr

    run("init", str(tmp_path / "genesis.json"))
    told = run("import", str(tmp_path / "chain.rlp"))
    assert "error" not in told.lower(), told[-2000:]
    run("export", str(tmp_path / "back.rlp"))
    assert ours[2:] in _hashes(tmp_path / "back.rlp")


def _hashes(path: Path) -> list[str]:
    import rlp
    from eth_hash.auto import keccak

    octets, at, found = path.read_bytes(), 0, []
    while at < len(octets):
        block, _, at = rlp.codec.consume_item(octets, at)
        found.append(keccak(rlp.encode(block[0])).hex())
    return found

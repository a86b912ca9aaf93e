"""Ethereum clients that others wrote, unchanged, against our development chain.

Each makes the same round trip: chain id, balance, transfer, deployment, call, receipt, new heads.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from npipe import ethereum, rpc
from peers.require import require, run_node
from peers.test_rpc_peers import serve

# Answers 42 to any call; node/common.cjs explains it.
BYTECODE = "0x600a600c600039600a6000f3602a60005260206000f3"


# web3.py resolves the path of a pipe: Wine has an error for it that Python does not expect.
not_under_wine = pytest.mark.skipif("WINEPREFIX" in os.environ, reason="web3.py's own provider")


@pytest.fixture(params=["threads", "asyncio"])
def chain(directory: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server of a new chain."""
    pytest.importorskip("eth", reason='the chain needs the extra: pip install "npipe[ethereum]"')
    name = f"np-{uuid.uuid4().hex}" if sys.platform == "win32" else str(directory / "s")
    api = rpc.API()
    with ethereum.register(api), serve(request.param, api, name) as address:
        yield address


def test_ethers_makes_a_round_trip(chain: str) -> None:
    require("ethers")
    result = run_node("ethers_roundtrip.cjs", chain)
    assert result == {
        "chainId": hex(1337),
        "received": hex(1000),
        "transferStatus": 1,
        "deployStatus": 1,
        "answer": hex(42),
        "head": result["head"],
        "block": True,
        "unknown": -32601,
    }
    assert result["head"] >= 0


def test_viem_makes_a_round_trip(chain: str) -> None:
    require("viem")
    result = run_node("viem_roundtrip.cjs", chain)
    assert int(result.pop("head"), 16) >= 0
    assert result == {
        "chainId": 1337,
        "received": hex(1000),
        "transferStatus": "success",
        "deployStatus": "success",
        "answer": hex(42),
        "block": True,
    }


@pytest.mark.parametrize("mode", ["anvil", "hardhat"])
def test_viem_s_client_for_test_chains_gets_what_it_asks(chain: str, mode: str) -> None:
    require("viem")
    word = f"0x{42:064x}"
    assert run_node("viem_test_client.cjs", chain, mode) == {
        "slot": word,
        "answer": word,
        "impersonated": "success",
        "mined": hex(3),
        "seconds": True,
        "made": [hex(500), hex(123), hex(20_000_000)],
        "automine": False,
        "waiting": 1,
        "left": 0,
        "simulated": ["success", "success"],
        "reverted": "0x0",
        "height": "0x0",
    }


@not_under_wine
def test_web3_makes_a_round_trip(chain: str) -> None:
    web3 = pytest.importorskip("web3")
    w3 = web3.Web3(web3.IPCProvider(chain))
    assert w3.is_connected()
    assert w3.eth.chain_id == 1337
    sender, receiver = w3.eth.accounts[:2]
    before = w3.eth.get_balance(receiver)
    transfer = w3.eth.send_transaction({"from": sender, "to": receiver, "value": 1000})
    assert w3.eth.wait_for_transaction_receipt(transfer)["status"] == 1
    assert w3.eth.get_balance(receiver) - before == 1000
    deployment = w3.eth.send_transaction({"from": sender, "data": BYTECODE})
    receipt = w3.eth.wait_for_transaction_receipt(deployment)
    assert receipt["status"] == 1
    assert int.from_bytes(w3.eth.call({"to": receipt["contractAddress"]})) == 42
    with w3.batch_requests() as batch:
        batch.add(w3.eth.get_block("latest"))
        batch.add(w3.eth.get_balance(sender))
        block, balance = batch.execute()
    assert block["number"] == 2
    assert balance == w3.eth.get_balance(sender)
    w3.provider._socket.sock.close()  # web3 leaves it to the garbage collector, which complains


@not_under_wine
def test_web3_async_makes_a_round_trip(chain: str) -> None:
    web3 = pytest.importorskip("web3")

    async def main() -> None:
        async with web3.AsyncWeb3(web3.AsyncIPCProvider(chain)) as w3:
            assert await w3.eth.chain_id == 1337
            sender, receiver = (await w3.eth.accounts)[:2]
            heads = await w3.eth.subscribe("newHeads")
            hashes = await w3.eth.subscribe("newPendingTransactions")
            transfer = await w3.eth.send_transaction(
                {"from": sender, "to": receiver, "value": 1000}
            )
            receipt = await w3.eth.wait_for_transaction_receipt(transfer)
            got = {}
            async for message in w3.socket.process_subscriptions():
                got[message["subscription"]] = message["result"]
                if len(got) == 2:
                    break
            assert got[heads]["hash"] == receipt["blockHash"]
            assert got[hashes] == transfer
            deployment = await w3.eth.send_transaction({"from": sender, "data": BYTECODE})
            receipt = await w3.eth.wait_for_transaction_receipt(deployment)
            assert int.from_bytes(await w3.eth.call({"to": receipt["contractAddress"]})) == 42
            assert await w3.eth.unsubscribe(heads)

    asyncio.run(main())


def test_geth_console_attaches(chain: str) -> None:
    geth = require("geth")
    expression = "[eth.blockNumber, eth.accounts.length, net.version, eth.chainId()].join()"
    done = subprocess.run(
        [geth, "attach", "--exec", expression, chain],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == "0,10,1337,0x539"

"""A recorded Ethereum session, newHeads included, satisfies web3.py without a chain."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("web3", reason="web3.py is not installed")
pytest.importorskip("eth", reason='the extra "ethereum" is not installed')

from web3 import AsyncWeb3, IPCProvider, Web3
from web3.providers.persistent import AsyncIPCProvider

from npipe import ethereum, rpc
from npipe.recording import replay
from npipe.testing import recorded

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="web3.py connects to a Windows pipe by a name of its own"
)
TAPE_OF_ITS_OWN = ("timestamp", "ash", "hash", "Root", "size", "nonce")


def threads(address: str) -> list[Any]:
    """Use web3.py with threads; return what it saw."""
    provider = IPCProvider(address, timeout=60)
    web3 = Web3(provider)
    first, second, *_ = web3.eth.accounts
    before = web3.eth.get_balance(second)
    sent = web3.eth.send_transaction({"from": first, "to": second, "value": 10**18})
    receipt = web3.eth.wait_for_transaction_receipt(sent, timeout=60)
    after = web3.eth.get_balance(second)
    block = web3.eth.get_block(receipt["blockNumber"])
    found = [web3.client_version, web3.eth.chain_id, after - before, block["hash"], receipt]
    provider._socket.sock.close()  # web3.py leaves it to the garbage collector, which complains
    return found


async def subscriber(address: str) -> list[Any]:
    """Subscribe to newHeads with web3.py on asyncio, and cause two; return what came."""
    seen: list[Any] = []
    async with AsyncWeb3(AsyncIPCProvider(address, request_timeout=60)) as web3:
        first, second, *_ = await web3.eth.accounts
        await web3.eth.subscribe("newHeads")
        for value in (1, 2):
            await web3.eth.send_transaction({"from": first, "to": second, "value": value})
        async for payload in web3.socket.process_subscriptions():
            seen.append(payload["result"]["number"])
            if len(seen) == 2:
                break
        seen.append(await web3.eth.block_number)
    return seen


def test_a_recorded_session_satisfies_web3(directory: Path) -> None:
    address, tape = str(directory / "chain"), directory / "t.jsonl"

    def session() -> list[Any]:
        with recorded(address, tape) as at:
            return [*threads(at), asyncio.run(subscriber(at))]

    api = rpc.API()
    with ethereum.register(api), rpc.Server(api) as server:
        server.serve(address)
        first = session()
        again = replay(tape, address, ignore=TAPE_OF_ITS_OWN)
    assert first[2] == 10**18 and len(first[-1]) == 3
    assert session() == first  # there is no chain any more
    assert session() == first
    assert again.compared > 10
    # Four blocks later the numbers differ, and are named; nothing is missing.
    assert {each.got for each in again.differences}.isdisjoint({"no answer", "missing"})
    with ethereum.register(api := rpc.API()), rpc.Server(api) as server:
        server.serve(address)
        fresh = replay(tape, address, ignore=TAPE_OF_ITS_OWN)
    assert [str(each) for each in fresh.differences] == []
    assert fresh.pushes == fresh.pushes_expected == 2

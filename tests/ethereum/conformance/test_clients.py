"""Real clients on a real pipe: web3.py's own provider, and ours for what is pushed."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import npipe.ethereum as ethereum
import npipe.rpc
from ethereum.contracts import COUNTER, init

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')


@pytest.fixture
def address(api: npipe.rpc.API, service: ethereum.Service) -> Iterator[str]:
    """The address of a server with a chain, in this process."""
    with (
        tempfile.TemporaryDirectory(prefix="np") as directory,
        npipe.rpc.Server(api) as server,
    ):
        windows = sys.platform == "win32"
        name = f"npipe-{secrets.token_hex(8)}" if windows else str(Path(directory, "chain.ipc"))
        yield str(server.serve(name))


@pytest.fixture
def w3(address: str) -> Iterator[Any]:
    """web3.py on its own provider, which leaves its socket open if nobody closes it."""
    if "WINEPREFIX" in os.environ:
        pytest.skip("web3.py resolves a pipe's path, for which Wine has an odd error")
    web3 = pytest.importorskip("web3")
    provider = web3.IPCProvider(address)
    yield web3.Web3(provider)
    if provider._socket.sock is not None:
        provider._socket.sock.close()


def test_web3py_does_a_full_round(w3: Any) -> None:
    assert w3.eth.chain_id == 1337
    alice, bob = w3.eth.accounts[:2]
    assert w3.eth.get_balance(alice) == 10_000 * 10**18
    receipt = w3.eth.wait_for_transaction_receipt(
        w3.eth.send_transaction({"from": alice, "to": bob, "value": 5})
    )
    assert (receipt.status, receipt.gasUsed) == (1, 21_000)
    receipt = w3.eth.wait_for_transaction_receipt(
        w3.eth.send_transaction({"from": alice, "data": init(COUNTER)})
    )
    assert int.from_bytes(w3.eth.call({"to": receipt.contractAddress})) == 1
    seen = w3.eth.filter({"address": receipt.contractAddress})
    w3.eth.send_transaction({"from": alice, "to": receipt.contractAddress})
    assert [int.from_bytes(entry.data) for entry in seen.get_new_entries()] == [1]
    history = w3.eth.fee_history(3, "latest", [20])
    assert len(history.baseFeePerGas) == 4
    assert w3.eth.get_block("latest", full_transactions=True).transactions[0]["from"] == alice


def test_web3py_raises_what_the_contract_reverted_with(w3: Any) -> None:
    if "WINEPREFIX" in os.environ:
        pytest.skip("web3.py resolves a pipe's path, for which Wine has an odd error")
    web3 = pytest.importorskip("web3")
    with pytest.raises(web3.exceptions.ContractLogicError, match="execution reverted"):
        w3.eth.call({"data": "0x60006000fd"})  # PUSH1 0, PUSH1 0, REVERT, as init code


class Lines:
    """A connection that shows the order in which things arrive."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(address)
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, *requests: dict[str, Any]) -> None:
        self._socket.sendall(b"".join(json.dumps(r).encode() + b"\n" for r in requests))

    def receive(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self._lines.readline())
        return line


@pytest.fixture
def lines(address: str) -> Iterator[Lines]:
    connection = Lines(address)
    yield connection
    connection.close()


def request(number: int, method: str, *params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="a plain socket is needed to look")
def test_a_reply_comes_before_the_notifications_it_causes(lines: Lines) -> None:
    lines.send(request(0, "eth_accounts"))
    alice, bob = lines.receive()["result"][:2]
    for name in ("newHeads", "newPendingTransactions"):
        lines.send(request(1, "eth_subscribe", name))
        assert lines.receive()["id"] == 1
    transfer = request(2, "eth_sendTransaction", {"from": alice, "to": bob, "value": "0x1"})
    for number in range(1, 31):
        lines.send(transfer)
        reply, *pushed = [lines.receive() for _ in range(3)]
        assert reply.get("id") == 2, f"round {number}: a notification came first"
        results = [push["params"]["result"] for push in pushed]
        assert reply["result"] in results
        assert [r["number"] for r in results if isinstance(r, dict)] == [hex(number)]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="a plain socket is needed to look")
def test_nothing_is_missed_between_the_subscription_and_its_id(lines: Lines) -> None:
    """What follows the subscription in the same write has its notification too."""
    lines.send(request(1, "eth_subscribe", "newHeads"), request(2, "evm_mine"))
    arrived = [lines.receive() for _ in range(3)]
    assert [message.get("id") for message in arrived] == [1, 2, None]
    assert arrived[2]["params"]["result"]["number"] == "0x1"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="a plain socket is needed to look")
def test_in_a_batch_too_the_reply_comes_first(lines: Lines) -> None:
    lines.send(request(1, "eth_subscribe", "newHeads"))
    lines.receive()
    batch = json.dumps([request(2, "evm_mine"), request(3, "evm_mine")]).encode()
    lines._socket.sendall(batch + b"\n")
    arrived: list[Any] = [lines.receive() for _ in range(3)]
    assert [reply["id"] for reply in arrived[0]] == [2, 3]


def test_logs_are_pushed_to_who_wants_them(address: str) -> None:
    with npipe.rpc.connect(address) as sender, npipe.rpc.connect(address) as listener:
        alice, bob = sender.call("eth_accounts")[:2]
        made = sender.call(
            "eth_sendTransaction", {"from": alice, "data": "0x" + init(COUNTER).hex()}
        )
        counter = sender.call("eth_getTransactionReceipt", made)["contractAddress"]
        wanted = {"address": counter, "topics": ["0x" + bob[2:].rjust(64, "0")]}
        logs = iter(listener.subscribe("eth", "logs", wanted))
        for account in (alice, bob):  # of these two, the second is wanted
            sender.call("eth_sendTransaction", {"from": account, "to": counter})
        log = next(logs)
        assert (int(log["data"], 16), log["topics"]) == (2, wanted["topics"])


def test_pending_transactions_are_pushed_as_hashes_or_whole(address: str) -> None:
    with npipe.rpc.connect(address) as client:
        alice, bob = client.call("eth_accounts")[:2]
        whole = iter(client.subscribe("eth", "newPendingTransactions", True))
        hashes = iter(client.subscribe("eth", "newPendingTransactions"))
        sent = client.call("eth_sendTransaction", {"from": alice, "to": bob, "value": "0x1"})
        assert next(hashes) == sent
        pending = next(whole)
        assert (pending["hash"], pending["blockHash"]) == (sent, None)


def test_many_clients_at_once_get_one_chain(address: str) -> None:
    """Each transaction in a block of its own, every block told of once and in order."""
    clients, each = 4, 10
    with npipe.rpc.connect(address) as listener:
        heads = listener.subscribe("eth", "newHeads")
        accounts = listener.call("eth_accounts")

        def send(account: str) -> list[str]:
            transfer = {"from": account, "to": accounts[-1], "value": "0x1", "gas": "0x5208"}
            with npipe.rpc.connect(address) as client:
                return [client.call("eth_sendTransaction", transfer) for _ in range(each)]

        with ThreadPoolExecutor(clients) as pool:
            sent = [one for many in pool.map(send, accounts[:clients]) for one in many]
        numbers = [int(heads.next(timeout=60)["number"], 16) for _ in sent]
        assert numbers == list(range(1, clients * each + 1))
        places = {listener.call("eth_getTransactionReceipt", h)["blockNumber"] for h in sent}
        assert len(places) == len(sent)


def test_a_bad_subscription_is_an_error_of_the_call(address: str) -> None:
    with npipe.rpc.connect(address) as client:
        for name, params in (("nothing", []), ("logs", [{"topics": [None] * 5}])):
            with pytest.raises(npipe.rpc.RPCError):
                iter(client.subscribe("eth", name, *params))


def test_the_chain_forgets_who_has_unsubscribed_or_gone(
    address: str, service: ethereum.Service
) -> None:
    assert service.node is not None
    hub = service.node.hub
    with npipe.rpc.connect(address) as client:
        events = client.subscribe("eth", "newHeads")
        client.subscribe("eth", "newPendingTransactions")
        assert len(hub) == 2
        events.close()
        client.call("eth_chainId")  # answered after the one before it
        assert len(hub) == 1
    assert eventually(lambda: len(hub) == 0)


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for another thread to notice that a connection has gone."""
    patience = threading.Event()
    return any(condition() or patience.wait(0.02) for _ in range(3000))

"""web3.py over a pipe, by our providers, against our chain and against geth."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import npipe
from integrations.conftest import PATIENCE, WINDOWS

web3 = pytest.importorskip("web3")
rpc = pytest.importorskip("npipe.rpc")
from web3.utils.subscriptions import NewHeadsSubscription  # noqa: E402

from npipe.integrations.web3 import AsyncProvider, Provider  # noqa: E402


@pytest.fixture(scope="module", params=["npipe", "geth"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a development chain."""
    if request.param == "geth":
        from peers.test_rpc_peers import geth

        if WINDOWS:
            pytest.skip("geth is not installed for Windows")
        with geth(tmp_path_factory.mktemp("g")) as path:
            yield str(path)
        return
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    from npipe import ethereum

    address = (
        rf"\\.\pipe\np-{time.monotonic_ns()}"
        if WINDOWS
        else str(tmp_path_factory.mktemp("n") / "s")
    )
    api = rpc.API()
    with ethereum.register(api), rpc.Server(api) as server:
        server.serve(address)
        yield address


@pytest.fixture
def w3(node: str) -> Iterator[Any]:
    provider = Provider(node, timeout=PATIENCE)
    yield web3.Web3(provider)
    provider.close()


RECEIVER = "0x" + "11" * 20  # the same with a checksum


def test_a_round_trip(w3: Any) -> None:
    assert w3.is_connected()
    sender = w3.eth.accounts[0]
    sent = w3.eth.send_transaction({"from": sender, "to": RECEIVER, "value": 5})
    assert w3.eth.wait_for_transaction_receipt(sent, timeout=PATIENCE)["status"] == 1
    assert w3.eth.get_balance(RECEIVER) >= 5
    raw = w3.provider.make_request("eth_getBalance", [bytes.fromhex("11" * 20), "latest"])
    assert int(raw["result"], 16) >= 5  # bytes go out as hexadecimal


def test_an_error_of_the_node(w3: Any) -> None:
    with pytest.raises(web3.exceptions.Web3RPCError) as caught:
        w3.manager.request_blocking("eth_getBlockByNumber", ["nonsense", False])
    assert caught.value.rpc_response["error"]["code"] == -32602
    answer = w3.provider.make_request("no_such", [])
    assert answer["error"]["code"] == -32601


def test_a_batch(w3: Any) -> None:
    sender = w3.eth.accounts[0]
    with w3.batch_requests() as batch:
        batch.add(w3.eth.get_block(0))
        batch.add(w3.eth.get_balance(sender))
        batch.add(w3.eth.get_block("latest"))
        first, balance, last = batch.execute()
    assert first["number"] == 0
    assert balance > 0
    assert last["number"] >= 0


def test_many_threads_share_a_provider(w3: Any) -> None:
    answers: list[int] = []
    work = [threading.Thread(target=lambda: answers.append(w3.eth.chain_id)) for _ in range(20)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(PATIENCE)
    assert answers == [1337] * 20


def run(node: str, test: Callable[[Any], Any]) -> None:
    async def main() -> None:
        provider = AsyncProvider(node, request_timeout=PATIENCE)
        async with asyncio.timeout(PATIENCE), web3.AsyncWeb3(provider) as w3:
            await test(w3)

    asyncio.run(main())


async def transfer(w3: Any) -> Any:
    sender = (await w3.eth.accounts)[0]
    sent = await w3.eth.send_transaction({"from": sender, "to": sender, "value": 1})
    return await w3.eth.wait_for_transaction_receipt(sent)


def test_asyncio_calls(node: str) -> None:
    async def test(w3: Any) -> None:
        assert await w3.is_connected()
        assert (await transfer(w3))["status"] == 1
        numbers = await asyncio.gather(*(w3.eth.chain_id for _ in range(50)))
        assert numbers == [1337] * 50
        answer = await w3.provider.make_request("no_such", [])
        assert answer["error"]["code"] == -32601
        with pytest.raises(web3.exceptions.Web3RPCError):
            await w3.manager.coro_request("eth_getBlockByNumber", ["nonsense", False])

    run(node, test)


def test_an_asyncio_batch(node: str) -> None:
    async def test(w3: Any) -> None:
        accounts = await w3.eth.accounts
        async with w3.batch_requests() as batch:
            batch.add(w3.eth.get_block(0))
            batch.add(w3.eth.get_balance(accounts[0]))
            block, balance = await batch.async_execute()
        assert block["number"] == 0
        assert balance > 0

    run(node, test)


def test_a_stream_of_new_heads(node: str) -> None:
    async def test(w3: Any) -> None:
        id = await w3.eth.subscribe("newHeads")
        made = [(await transfer(w3))["blockNumber"] for _ in range(2)]
        got: list[int] = []
        async for message in w3.socket.process_subscriptions():
            assert message["subscription"] == id
            got.append(message["result"]["number"])
            if got[-1] == made[-1]:
                break
        assert set(made) <= set(got)
        assert await w3.eth.unsubscribe(id)

    run(node, test)


def test_handlers_of_subscriptions(node: str) -> None:
    async def test(w3: Any) -> None:
        heads: list[int] = []

        async def handler(context: Any) -> None:
            heads.append(context.result["number"])
            await context.subscription.unsubscribe()

        await w3.subscription_manager.subscribe([NewHeadsSubscription(handler=handler)])
        handling = asyncio.ensure_future(w3.subscription_manager.handle_subscriptions())
        await transfer(w3)
        await handling
        assert len(heads) == 1

    run(node, test)


# What goes wrong, against a node that does just that.


class Node:
    """A node at ``address`` that treats each connection as ``behave`` does."""

    def __init__(self, address: str, behave: Callable[[npipe.Connection, bytes], object]) -> None:
        self._listener = npipe.listen(address)
        self._behave = behave
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for connection in self._listener:
            with connection:
                while data := connection.read(65536):
                    if self._behave(connection, data) is None:
                        break

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._listener.close()
        self._thread.join(PATIENCE)


def answer(connection: npipe.Connection, request: bytes) -> int:
    id = json.loads(request)["id"]
    pushed = b'{"jsonrpc":"2.0","method":"eth_subscription","params":{}}'
    late = b'{"jsonrpc":"2.0","id":987,"result":"0x0"}'
    reply = json.dumps({"jsonrpc": "2.0", "id": id, "result": "0x2a"}).encode()
    return connection.write(pushed + late + reply[:9]) + connection.write(reply[9:])


def test_replies_of_others_are_skipped(address: str) -> None:
    with Node(address, answer):
        provider = Provider(address, timeout=PATIENCE)
        assert provider.make_request("eth_chainId", [])["result"] == "0x2a"
        provider.close()


def test_a_node_that_does_not_answer(address: str) -> None:
    def silent(connection: npipe.Connection, request: bytes) -> int:
        return 1

    with Node(address, silent):
        provider = Provider(address, timeout=0.1)
        with pytest.raises(web3.exceptions.TimeExhausted):
            provider.make_request("eth_chainId", [])
        assert not provider.is_connected()
        with pytest.raises(web3.exceptions.ProviderConnectionError):
            provider.is_connected(show_traceback=True)
        asyncio.run(asynchronous_timeout(address))


async def asynchronous_timeout(address: str) -> None:
    async with web3.AsyncWeb3(AsyncProvider(address, request_timeout=0.1)) as w3:
        with pytest.raises(web3.exceptions.TimeExhausted):
            await w3.eth.chain_id
        with pytest.raises(web3.exceptions.TimeExhausted):
            await w3.provider.make_batch_request([("eth_chainId", [])])
        assert not await w3.is_connected()


def test_a_node_that_goes_during_a_call(address: str) -> None:
    async def asynchronous() -> None:
        async with web3.AsyncWeb3(AsyncProvider(address)) as w3:
            with pytest.raises(web3.exceptions.ProviderConnectionError):
                await w3.eth.chain_id
            with pytest.raises(web3.exceptions.ProviderConnectionError):
                await w3.is_connected(show_traceback=True)

    with Node(address, lambda connection, request: None):
        provider = Provider(address, timeout=PATIENCE)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                provider.make_request("eth_chainId", [])
        asyncio.run(asynchronous())


def test_a_node_restarts_between_calls(address: str) -> None:
    provider = Provider(address, timeout=PATIENCE)
    for _ in range(2):
        with Node(address, lambda connection, request: answer(connection, request) and None):
            assert provider.make_request("eth_chainId", [])["result"] == "0x2a"
    provider.close()


def test_no_node(address: str) -> None:
    provider = Provider(address)
    assert not provider.is_connected()
    with pytest.raises(FileNotFoundError):
        provider.make_request("eth_chainId", [])

    async def asynchronous() -> None:
        missing = AsyncProvider(address, max_connection_retries=1)
        assert not await missing.is_connected()
        with pytest.raises(web3.exceptions.ProviderConnectionError) as caught:
            await missing.connect()
        assert isinstance(caught.value.__cause__, FileNotFoundError)
        await missing.disconnect()

    asyncio.run(asynchronous())


def test_a_name_is_kept_as_given() -> None:
    """web3's own providers resolve it, which opens a Windows pipe."""
    assert AsyncProvider("name").get_endpoint_uri_or_ipc_path() == "name"
    assert str(Provider("name")) == "npipe connection name"


def test_a_call_that_waits_does_not_poll(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """web3's own provider goes once round the loop after the other, and takes a whole core."""
    answering = threading.Event()

    def late(connection: npipe.Connection, request: bytes) -> int:
        answering.wait(PATIENCE)
        return answer(connection, request)

    async def main() -> int:
        turns: list[object] = []
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon

        def counted(*args: Any, **options: Any) -> asyncio.Handle:
            turns.append(args)
            return call_soon(*args, **options)

        async with web3.AsyncWeb3(AsyncProvider(address, request_timeout=PATIENCE)) as w3:
            monkeypatch.setattr(loop, "call_soon", counted)
            loop.call_later(0.2, answering.set)
            await w3.provider.make_request("eth_chainId", [])
        return len(turns)

    with Node(address, late):
        assert asyncio.run(main()) < 100


@pytest.mark.parametrize(
    "names",
    [
        "web3._utils.caching:handle_request_caching",
        "web3._utils.caching.caching_utils:async_handle_send_caching",
        "web3._utils.caching.caching_utils:async_handle_recv_caching",
        "web3._utils.encoding:Web3JsonEncoder",
    ],
)
def test_the_private_names_that_are_used_exist(names: str) -> None:
    module, name = names.split(":")
    assert callable(getattr(__import__(module, fromlist=[name]), name))


def test_the_private_methods_that_are_overridden_exist() -> None:
    base = web3.providers.persistent.PersistentConnectionProvider
    for name in ("connect", "disconnect", "socket_reader"):
        assert asyncio.iscoroutinefunction(getattr(base, f"_provider_specific_{name}"))

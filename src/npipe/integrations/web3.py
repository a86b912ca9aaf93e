"""An Ethereum node over a pipe, for web3.py 8.

    w3 = Web3(Provider("geth.ipc"))

    async with AsyncWeb3(AsyncProvider("geth.ipc")) as w3: ...

In addition to web3's own providers they have asyncio and timeouts on Windows, an error at once when
the node disconnects, and no polling while a call waits.

Extension points: ``make_request`` and ``make_batch_request`` of ``JSONBaseProvider``; for asyncio
the four methods of ``PersistentConnectionProvider`` that send and receive. Calls go through
``npipe.rpc.aio``; only items of subscriptions go through web3's listener. Parameters are
encoded by ``Web3JsonEncoder``, because bytes are hexadecimal in web3.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import npipe
from npipe import rpc
from npipe.integrations import missing
from npipe.integrations.options import split
from npipe.rpc import aio
from npipe.rpc.wire import framing

try:
    import msgspec
    from web3._utils.caching import handle_request_caching
    from web3._utils.caching.caching_utils import (
        async_handle_recv_caching,
        async_handle_send_caching,
    )
    from web3._utils.encoding import Web3JsonEncoder
    from web3.exceptions import (
        PersistentConnectionClosedOK,
        ProviderConnectionError,
        TimeExhausted,
    )
    from web3.providers import JSONBaseProvider
    from web3.providers.persistent import PersistentConnectionProvider
except ModuleNotFoundError as _error:
    raise missing("web3", _error) from None

if TYPE_CHECKING:
    from npipe.address import Address

__all__ = ["AsyncProvider", "Provider"]

TIMEOUT: Final = 30.0  # seconds for a call; web3's own for its persistent providers
QUEUE: Final = 500  # pushed items that may wait for web3's listener; web3's own for its queue

_encode = Web3JsonEncoder().encode
_to_json = msgspec.json.Encoder().encode

Reply = dict[str, Any]


class Provider(JSONBaseProvider):
    """A provider for ``Web3``: one exchange at a time, from any thread.

    After a loss, the next call opens a new connection. No call is sent twice.

    Args:
        address: Address of the node.
        timeout: Seconds for a call, including connecting.
        options: Options of ``npipe.connect`` and of web3's ``JSONBaseProvider``.

    Raises:
        OSError: Raised by each call: an error of connecting, reading or writing.
        TimeExhausted: Raised by each call.
    """

    def __init__(self, address: str | Address, *, timeout: float = TIMEOUT, **options: Any) -> None:
        self._options, theirs = split(options)
        super().__init__(**theirs)
        self._address, self._timeout = address, timeout
        self._lock = threading.Lock()
        self._connection: npipe.Connection | None = None

    def __str__(self) -> str:
        return f"npipe connection {self._address}"

    @handle_request_caching
    def make_request(self, method: str, params: Any) -> Any:
        id, line = self._request(method, params)
        return self._exchange(line, lambda reply: _answers(reply, id))

    def make_batch_request(self, requests: list[tuple[str, Any]]) -> Any:
        batch = [self._request(method, params) for method, params in requests]
        text = b"[" + b",".join([line for _, line in batch]) + b"]"
        reply = self._exchange(text, lambda reply: type(reply) is list or _answers(reply, None))
        if not isinstance(reply, list):  # one error for the whole batch
            return reply
        places = {id: place for place, (id, _) in enumerate(batch)}
        return sorted(reply, key=lambda each: places.get(each.get("id"), len(places)))

    def is_connected(self, show_traceback: bool = False) -> bool:
        try:
            return bool(super().is_connected(show_traceback))
        except TimeExhausted as error:
            if show_traceback:
                raise ProviderConnectionError(str(error)) from error
            return False

    def close(self) -> None:
        """Close the connection. The next call makes a new one."""
        with self._lock:
            self._disconnect()

    def _request(self, method: str, params: Any) -> tuple[int, bytes]:
        """Return the id of a request, and its text."""
        id = next(self.request_counter)
        call = {"jsonrpc": "2.0", "method": method, "params": _params(params), "id": id}
        return id, _to_json(call)

    def _exchange(self, text: bytes, is_reply: Callable[[Any], bool]) -> Any:
        """Send a message and return the reply to it."""
        with self._lock:
            deadline = time.monotonic() + self._timeout
            try:
                connection = self._connected()
                connection.set_deadline(deadline)
                connection.write(text + b"\n")
                return self._read_reply(connection, is_reply)
            except BaseException as error:  # or a late reply would answer the next request
                self._disconnect()
                if isinstance(error, TimeoutError):
                    raise TimeExhausted(f"{self._address}: {error}") from error
                raise

    def _connected(self) -> npipe.Connection:
        if self._connection is None or self._connection.has_gone():
            self._disconnect()
            self._connection = npipe.connect(
                self._address, connect_timeout=self._timeout, **self._options
            )
            self._framing = framing.make("json-stream")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read_reply(self, connection: npipe.Connection, is_reply: Callable[[Any], bool]) -> Any:
        while data := connection.read(65536):
            for message in self._framing.feed(data):
                reply = msgspec.json.decode(message)
                if is_reply(reply):
                    return reply
        raise ConnectionError(f"{self._address}: the node closed the connection before its reply")


class AsyncProvider(PersistentConnectionProvider):
    """A provider for ``AsyncWeb3``, with many calls at a time and with subscriptions.

    Args:
        address: Address of the node.
        options: Options of ``npipe.connect`` and of web3's ``PersistentConnectionProvider``, of
            which ``request_timeout`` is the time limit of a call, in seconds.

    Raises:
        ProviderConnectionError: Raised by each call after the node has disconnected.
        TimeExhausted: Raised by each call.
    """

    def __init__(self, address: str | Address, **options: Any) -> None:
        self._options, theirs = split(options)
        super().__init__(**theirs)
        self.ipc_path: str = str(address)  # web3 names the provider by it
        self._address = address
        self._client: aio.Client | None = None
        self._subscribed: dict[str, asyncio.Task[None]] = {}
        self._pushed: asyncio.Queue[Reply | Exception] = asyncio.Queue(QUEUE)

    def __str__(self) -> str:
        return f"npipe connection {self._address}"

    async def is_connected(self, show_traceback: bool = False) -> bool:
        try:
            await self._call("web3_clientVersion", [])
        except (ProviderConnectionError, TimeExhausted) as error:
            if show_traceback:
                raise ProviderConnectionError(str(error)) from error
            return False
        except rpc.RPCError:  # the node answers, so it is connected
            pass
        return True

    @async_handle_send_caching
    async def send_request(self, method: str, params: Any) -> Any:
        """Make the request. It is sent by the method that waits for its reply."""
        return self.form_request(method, params)

    @async_handle_recv_caching
    async def recv_for_request(self, rpc_request: Any) -> Reply:
        id, method, params = rpc_request["id"], rpc_request["method"], rpc_request["params"]
        try:
            if method == "eth_subscribe":
                return _reply(id, await self._subscribe(params))
            result = await self._call(method, params)
        except rpc.RPCError as error:
            return _reply(id, error)
        if method == "eth_unsubscribe":
            self._forget(params[0])
        return _reply(id, result)

    async def send_batch_request(self, requests: list[tuple[str, Any]]) -> list[Any]:
        return [self.form_request(method, params) for method, params in requests]

    async def recv_for_batch_request(self, _request_dicts: list[Any]) -> list[Reply]:
        entries = [(each["method"], _params(each["params"])) for each in _request_dicts]
        with _raising(f"{self._address}: a batch of {len(entries)}"):
            outcomes = await self._connected().batch(entries)
        pairs = zip(_request_dicts, outcomes, strict=True)
        return [_reply(each["id"], outcome) for each, outcome in pairs]

    async def socket_send(self, request_data: bytes) -> None:
        raise NotImplementedError("npipe.rpc sends the requests: this method must not be called")

    async def socket_recv(self) -> Any:
        """Return the next item of a subscription."""
        pushed = await self._pushed.get()
        if isinstance(pushed, Exception):
            raise PersistentConnectionClosedOK(user_message=str(pushed))
        return pushed

    async def _provider_specific_connect(self) -> None:
        self._pushed = asyncio.Queue(QUEUE)
        self._client = await aio.connect(
            self._address,
            timeout=self.request_timeout,
            connect_timeout=self.request_timeout,
            **self._options,
        )

    async def _provider_specific_disconnect(self) -> None:
        for id in list(self._subscribed):
            self._forget(id)
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _provider_specific_socket_reader(self) -> Any:
        return await self.socket_recv()

    def _connected(self) -> aio.Client:
        if self._client is None:
            raise ProviderConnectionError(f"{self._address}: not connected: await connect() first")
        return self._client

    async def _call(self, method: str, params: Any) -> Any:
        with _raising(f"{self._address}: {method}"):
            return await self._connected().call(method, named=_params(params))

    async def _subscribe(self, params: Any) -> str:
        with _raising(f"{self._address}: eth_subscribe"):
            subscription = await self._connected().subscribe("eth", *params)
        id = str(subscription.id)
        self._subscribed[id] = asyncio.create_task(self._pass_on(id, subscription))
        return id

    async def _pass_on(self, id: str, subscription: Any) -> None:
        """Pass the items of a subscription to web3's listener, at its pace."""
        try:
            async for item in subscription:
                params = {"subscription": id, "result": item}
                pushed = {"jsonrpc": "2.0", "method": "eth_subscription", "params": params}
                await self._pushed.put(pushed)
        except (rpc.RPCError, OSError) as error:
            await self._pushed.put(error)

    def _forget(self, id: str) -> None:
        task = self._subscribed.pop(id, None)
        if task is not None:
            task.cancel()


@contextmanager
def _raising(what: str) -> Iterator[None]:
    """Turn the errors of a call into web3's."""
    try:
        yield
    except TimeoutError as error:  # before OSError, of which it is a subclass
        raise TimeExhausted(f"{what}: {error}") from error
    except OSError as error:
        raise ProviderConnectionError(f"{what}: {error}") from error


def _params(params: Any) -> Any:
    """Return encoded parameters in the form that msgspec and ``npipe.rpc`` accept.

    web3's encoder is slow to start, and many parameters do not need it: they are text.
    """
    if not params:
        return msgspec.Raw(b"[]")
    if isinstance(params, list | tuple):
        for each in params:
            if type(each) is not str and type(each) is not bool:
                break
        else:
            return msgspec.Raw(_to_json(params))
    return msgspec.Raw(_encode(params).encode())


def _answers(reply: Any, id: int | None) -> bool:
    return type(reply) is dict and "method" not in reply and reply.get("id") == id


def _reply(id: Any, outcome: Any) -> Reply:
    """Return an outcome of ``npipe.rpc`` as the whole reply that web3 expects."""
    if not isinstance(outcome, Exception):
        return {"jsonrpc": "2.0", "id": id, "result": outcome}
    if not isinstance(outcome, rpc.RPCError):
        raise outcome
    error = {"code": outcome.code, "message": outcome.message}
    if outcome.data is not None:
        error["data"] = outcome.data
    return {"jsonrpc": "2.0", "id": id, "error": error}

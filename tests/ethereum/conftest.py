"""A development chain called as a client would call it: by JSON-RPC, with no connection between."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import init
from npipe.errors import RPCError
from npipe.ethereum.formats import data
from npipe.rpc.api import API
from npipe.rpc.dispatcher import Dispatcher
from npipe.rpc.session import Session
from npipe.security import PeerIdentity

Call = Callable[..., Any]


class Refused(RPCError):
    """The error object of a reply."""


class Direct:
    """One connection's session, fed and emptied by hand. It is the owner's, so to say."""

    def __init__(self, api: API) -> None:
        owner = PeerIdentity(uid=os.geteuid()) if sys.platform != "win32" else None
        self._session = Session(Dispatcher(api), peer=owner)
        self._ids = itertools.count()

    def call(self, method: str, *params: Any) -> Any:
        """The result of a call. Raises Refused with the error of the reply."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}
        self._session.receive([msgspec.json.encode(request)])
        while (call := self._session.next_call()) is not None:
            call.run()
        (reply,) = map(msgspec.json.decode, self._session.take().splitlines())
        if "error" in reply:
            error = reply["error"]
            raise Refused(error["message"], code=error["code"], data=error.get("data"))
        return reply["result"]


@pytest.fixture
def api() -> API:
    return API()


@pytest.fixture
def service(api: API) -> Iterator[ethereum.Service]:
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    with ethereum.register(api) as service:
        yield service


@pytest.fixture
def call(api: API, service: ethereum.Service) -> Call:
    return Direct(api).call


@pytest.fixture
def alice(service: ethereum.Service) -> str:
    return "0x" + service.accounts[0].address.hex()


@pytest.fixture
def bob(service: ethereum.Service) -> str:
    return "0x" + service.accounts[1].address.hex()


@pytest.fixture
def deploy(call: Call, alice: str) -> Callable[[bytes], str]:
    """Deploys a contract from its runtime code, and returns its address."""

    def create(runtime: bytes) -> str:
        sent = call("eth_sendTransaction", {"from": alice, "input": data(init(runtime))})
        receipt = call("eth_getTransactionReceipt", sent)
        assert receipt["status"] == "0x1"
        assert call("eth_getCode", receipt["contractAddress"]) == data(runtime)
        return str(receipt["contractAddress"])

    return create

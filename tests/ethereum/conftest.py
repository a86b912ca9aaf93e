"""A development chain called as a client would call it: by JSON-RPC, with no connection between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import npipe.ethereum as ethereum
from ethereum.contracts import init
from ethereum.direct import Direct
from ethereum.nodes import long_limits, ours, theirs  # noqa: F401 - fixtures
from npipe.ethereum.values.types import data
from npipe.rpc.service.api import API

Call = Callable[..., Any]


@pytest.fixture
def api() -> API:
    return API()


@pytest.fixture
def service(api: API) -> Iterator[ethereum.Service]:
    pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')
    with ethereum.register(api) as service, long_limits():
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

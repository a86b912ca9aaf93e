"""A real geth and our chain, made alike: the same contracts on both, under the same names."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import npipe.ethereum
import npipe.rpc
from ethereum.contracts import ANSWER, COUNTER, LOOP, REVERT, STORE, assemble, init
from npipe.errors import RPCError
from npipe.ethereum.values.types import data

__all__ = ["CONTRACTS", "Node", "long_limits", "ours", "receipt_of", "theirs"]

Call = Callable[..., Any]
Error = tuple[int, str, Any]
CONTRACTS = {
    "$answer": ANSWER,
    "$revert": REVERT,
    "$loop": LOOP,
    "$invalid": assemble("INVALID"),
    "$jump": assemble("0x00 JUMP"),
    "$counter": COUNTER,
    "$store": STORE,
    "$factory": assemble("0x00 0x00 0x00 CREATE 0x00 MSTORE 0x20 0x00 RETURN"),
    "$gone": assemble("CALLER SELFDESTRUCT"),
}


class Node(NamedTuple):
    """A node, its account, and where it has the contracts."""

    call: Call
    own: dict[str, str]

    def error(self, method: str, params: Any) -> Error:
        """What the node answers to a call that it must refuse."""
        with pytest.raises(RPCError) as caught:
            self.call(method, *self.filled(params))
        error = caught.value
        message = error.message.lower()
        for name, address in self.own.items():
            message = message.replace(address.lower(), name)
        for words in ("supplied gas", "failed with", "baseFee:", "head", "state:"):
            message = re.sub(rf"({words}) \d+", r"\1 N", message, flags=re.IGNORECASE)
        message = re.sub(r"(limit reached:) \d+", r"\1 N", message)  # geth adds some to it
        message = re.sub(r"([<>]=) \d+$", r"\1 N", message)  # of its newest block
        return error.code, message, error.data

    def outcome(self, method: str, params: Any) -> Error | str:
        """What the node answers: the kind of the result, or the error."""
        try:
            return type(self.call(method, *self.filled(params))).__name__
        except RPCError:
            return self.error(method, params)

    def told(self, method: str, *params: Any, without: Container[str] = ()) -> Any:
        """What the node answers, its own addresses replaced by their names in all of it."""
        text = json.dumps(self.call(method, *self.filled(list(params))), sort_keys=True)
        for name, address in self.own.items():
            text = text.replace(address.lower(), name).replace(address.lower()[2:], name)

        def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            return {key: value for key, value in pairs if key not in without}

        return json.loads(text, object_pairs_hook=keep)

    def filled(self, value: Any) -> Any:
        """``value`` with the node's own addresses in place of their names."""
        if isinstance(value, dict):
            return {self.own.get(key, key): self.filled(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        return self.own.get(value, value) if isinstance(value, str) else value


def prepared(call: Call) -> Node:
    """A node with the contracts on it."""
    account = call("eth_accounts")[0]
    own = {"$me": account}
    for name, code in CONTRACTS.items():
        request = {"from": account, "input": data(init(code)), "gas": "0x30d40"}
        own[name] = created(call, call("eth_sendTransaction", request))
    return Node(call, own)


def created(call: Call, sent: str) -> str:
    """The address of a new contract, once it is in a block."""
    return str(receipt_of(call, sent)["contractAddress"])


def receipt_of(call: Call, sent: str) -> dict[str, Any]:
    """What came of a transaction, once it is in a block."""
    for _ in range(1_000):
        try:
            if receipt := call("eth_getTransactionReceipt", sent):
                return dict(receipt)
        except RPCError as error:
            assert "indexing is in progress" in error.message
    raise AssertionError("it is never mined")


@contextlib.contextmanager
def long_limits() -> Iterator[None]:
    """Raise the time limits: on a busy machine, calls and traces take more than 5 seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("node.calls", "node.simulate", "values.trace_options"):
            patch.setattr(f"npipe.ethereum.{module}.TIMEOUT", 100.0)
        yield


@pytest.fixture(scope="module")
def theirs() -> Iterator[Node]:
    from peers.test_rpc_peers import geth

    with (
        tempfile.TemporaryDirectory(prefix="np") as directory,
        geth(Path(directory)) as path,
        npipe.rpc.connect(path, timeout=30) as client,
    ):
        yield prepared(client.call)


@pytest.fixture(scope="module")
def ours() -> Iterator[Node]:
    from ethereum.direct import Direct

    api = npipe.rpc.API()
    with npipe.ethereum.register(api), long_limits():
        call = Direct(api).call
        call("miner_setEtherbase", call("eth_accounts")[0])  # geth, too, mines for its own account
        yield prepared(call)

"""Every method of the execution-apis specification that is not the engine's: 58 of them.

Each is called on a chain with something in it, and its result held against a schema.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from ethereum.contracts import COUNTER
from ethereum.schemas import BLOCK, HEADER_FIELDS, METHODS, RECEIPT, TRANSACTION
from npipe.errors import RPCError

jsonschema = pytest.importorskip("jsonschema")

Call = Callable[..., Any]


@dataclass
class Scene:
    """A chain with a contract on it that has logged, and a transaction that waits."""

    call: Call
    alice: str
    bob: str
    counter: str
    sent: str
    block: str
    log_filter: str
    raw: str

    def params(self, method: str) -> list[Any]:
        """What to call a method with, so that it has something to return."""
        request = {"from": self.alice, "to": self.counter}
        special: dict[str, list[Any]] = {
            "eth_call": [request],
            "eth_estimateGas": [request],
            "eth_createAccessList": [request, "latest"],
            "eth_feeHistory": ["0x3", "latest", [10, 90]],
            "eth_getFilterChanges": [self.log_filter],
            "eth_getFilterLogs": [self.log_filter],
            "eth_uninstallFilter": [self.log_filter],
            "eth_getLogs": [{"fromBlock": "earliest"}],
            "eth_newFilter": [{}],
            "eth_getProof": [self.counter, ["0x0", "0x1"], "latest"],
            "eth_getStorageAt": [self.counter, "0x0", "latest"],
            "eth_getStorageValues": [{self.counter: ["0x0", "0x1"]}, "latest"],
            "eth_sendRawTransaction": [self.raw],
            "eth_sendTransaction": [{"from": self.alice, "to": self.bob, "value": "0x1"}],
            "eth_sign": [self.alice, "0xdeadbeef"],
            "eth_signTransaction": [
                {**request, "gas": "0x5208", "nonce": "0x9", "gasPrice": "0x77359400"}
            ],
            "eth_simulateV1": [{"blockStateCalls": [{"calls": [request]}]}, "latest"],
            "txpool_contentFrom": [self.bob],
        }
        if method in special:
            return special[method]
        if "ByHash" in method or "BlockHash" in method:
            wanted = self.sent if method == "eth_getTransactionByHash" else self.block
            return [wanted, *self._more(method)]
        if "Receipts" in method or "ByNumber" in method or "BlockNumber" in method:
            return ["latest", *self._more(method)]
        if method in ("eth_getTransactionReceipt", "debug_getRawTransaction"):
            return [self.sent]
        if method == "debug_traceTransaction":
            return [self.sent]
        if method in ("debug_getRawBlock", "debug_getRawHeader"):
            return ["latest"]
        if method in ("eth_getBalance", "eth_getCode", "eth_getTransactionCount"):
            return [self.counter, "latest"]
        return []

    def _more(self, method: str) -> list[Any]:
        if method.endswith("AndIndex"):
            return ["0x0"]
        return [True] if method.startswith("eth_getBlockBy") else []


@pytest.fixture
def scene(call: Call, alice: str, bob: str, deploy: Callable[[bytes], str]) -> Scene:
    counter = deploy(COUNTER)
    log_filter = call("eth_newFilter", {"fromBlock": "earliest"})
    sent = call("eth_sendTransaction", {"from": alice, "to": counter})
    receipt = call("eth_getTransactionReceipt", sent)
    assert len(receipt["logs"]) == 1
    call("eth_sendTransaction", {"from": bob, "to": alice, "nonce": "0x5", "value": "0x1"})
    request = {"from": alice, "to": bob, "gas": "0x5208", "nonce": "0x2", "gasPrice": "0x77359400"}
    raw = call("eth_signTransaction", request)["raw"]
    return Scene(call, alice, bob, counter, sent, receipt["blockHash"], log_filter, raw)


def check(value: Any, schema: dict[str, Any]) -> None:
    jsonschema.validate(value, schema, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("method", [name for name, schema in METHODS.items() if schema])
def test_the_result_is_as_the_specification_has_it(scene: Scene, method: str) -> None:
    schema = METHODS[method]
    assert schema is not None
    check(scene.call(method, *scene.params(method)), schema)


@pytest.mark.parametrize("method", [name for name, schema in METHODS.items() if not schema])
def test_what_is_not_answered_is_method_not_found(call: Call, method: str) -> None:
    with pytest.raises(RPCError) as caught:
        call(method)
    assert caught.value.code == -32601


def test_55_of_the_58_methods_are_answered() -> None:
    assert len(METHODS) == 58
    assert [name for name, schema in METHODS.items() if not schema] == [
        "debug_getRawBlockAccessList",
        "eth_getBlockAccessList",
        "testing_buildBlockV1",
    ]


def test_the_schemas_can_fail() -> None:
    """A schema that takes anything would prove nothing."""
    for schema, value in ((BLOCK, {}), (RECEIPT, {"logs": []}), (TRANSACTION, {"type": "0x2"})):
        with pytest.raises(jsonschema.ValidationError):
            check(value, schema)


def test_every_kind_of_transaction_has_its_fields(call: Call, alice: str, bob: str) -> None:
    kinds: list[dict[str, Any]] = [
        {"gasPrice": "0x77359400"},
        {"gasPrice": "0x77359400", "accessList": [{"address": bob, "storageKeys": []}]},
        {"maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1"},
        {"type": "0x0"},
        {},
    ]
    for number, fields in enumerate(kinds):
        sent = call("eth_sendTransaction", {"from": alice, "to": bob, **fields})
        check(call("eth_getTransactionByHash", sent), TRANSACTION)
        check(call("eth_getTransactionReceipt", sent), RECEIPT)
        block = call("eth_getBlockByNumber", hex(number + 1), True)
        check(block, BLOCK)
        assert [item["type"] for item in block["transactions"]] == [
            ["0x0", "0x1", "0x2", "0x0", "0x2"][number]
        ]
    assert set(call("eth_getHeaderByNumber", "latest")) == set(HEADER_FIELDS)

"""Each call of ``geth_cases`` on a real geth and on ours: status, gas, output, error and traces.

The same bytes run at the same addresses on both. What differs by nature is left out: the sender's
address has a name, and balances that the fees have changed are not compared.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from ethereum.nodes import Node, ours, theirs  # noqa: F401 - fixtures
from npipe.errors import RPCError
from peers.geth_cases import CALLS, TRACERS, needed

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from npipe.ethereum.evm.addresses import created

NONCE = 0x40  # that the sender is pretended to have, so that new contracts have known addresses
#: Cases in which an instruction fails before py-evm has counted what it would cost; and their kind.
UNCOUNTED = ("return data", "static write", "static log", "static call with value", "static create")


def answer(node: Node, method: str, *params: Any) -> Any:
    """What a node answers, a refusal included."""
    try:
        return told(node, node.call(method, *node.filled(list(params))))
    except RPCError as error:
        return told(node, [error.code, error.message, error.data])


def told(node: Node, value: Any) -> Any:
    """An answer with names in place of the node's own addresses, new contracts included."""
    text = json.dumps(value, sort_keys=True)
    sender = bytes.fromhex(node.own["$me"][2:])
    new = {f"$new{at}": "0x" + created(sender, NONCE + at).hex() for at in range(2)}
    for name, address in {**node.own, **new}.items():
        for spelled in (address, address.lower(), address[2:].lower()):
            text = text.replace(spelled, name)
    answer = json.loads(text)
    if isinstance(answer, dict) and "accessList" in answer:  # geth's has no order: it is a map
        answer["accessList"].sort(key=lambda entry: entry["address"])
        for entry in answer["accessList"]:
            entry["storageKeys"].sort()
    return answer


def comparable(value: Any, tracer: str) -> Any:
    """A trace without what two chains need not agree on."""
    if isinstance(value, dict) and "structLogs" in value:
        for step in value["structLogs"]:
            # This geth leaves out the prefixes that today's specification has.
            if "memory" in step:
                step["memory"] = [word.removeprefix("0x") for word in step["memory"]]
            if "storage" in step:
                step["storage"] = {
                    key.removeprefix("0x"): item.removeprefix("0x")
                    for key, item in step["storage"].items()
                }
    if "prestate" in tracer or tracer == "difference":
        return without_own(value)
    return value


def without_own(value: Any) -> Any:
    """Without the accounts whose balance is the chain's own: sender, miner, precompiles."""
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        if key == "$me" or (len(key) == 42 and int(key, 16) < 0x100):
            continue
        kept[key] = without_own(item)
    return kept


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_the_same(theirs: Node, ours: Node, name: str) -> None:  # noqa: F811
    request = CALLS[name]
    accounts = pretended(request)
    block = {"stateOverrides": accounts, "calls": [request, request]}
    simulation = {"traceTransfers": True, "blockStateCalls": [block]}
    for method, params in (
        ("eth_call", [request, "latest", accounts]),
        ("eth_createAccessList", [request, "latest", accounts]),
        ("eth_simulateV1", [simulation, "latest"]),
    ):
        there, here = (answer(node, method, *params) for node in (theirs, ours))
        if method == "eth_simulateV1":
            there, here = ([outcomes(block) for block in told] for told in (there, here))
        assert here == there, method


def pretended(request: dict[str, Any]) -> dict[str, Any]:
    """The accounts as both nodes are to see them."""
    return {**needed(request), "$me": {"nonce": hex(NONCE)}}


def outcomes(block: Any) -> Any:
    """What came of the calls of a block, without what the block's own hash is in."""
    if not isinstance(block, dict):
        return block
    calls = []
    for call in block["calls"]:
        call.pop("maxUsedGas", None)  # this geth does not have it yet
        if "error" in call and call["error"]["code"] == -32000:
            call["error"]["code"] = 3
        for log in call["logs"]:
            for own in ("blockHash", "blockNumber", "blockTimestamp", "transactionHash"):
                log.pop(own)
        calls.append(call)
    return calls


@pytest.mark.parametrize("tracer", TRACERS)
@pytest.mark.parametrize("name", CALLS)
def test_a_trace_is_the_same(theirs: Node, ours: Node, name: str, tracer: str) -> None:  # noqa: F811
    request = CALLS[name]
    config = {**TRACERS[tracer], "stateOverrides": pretended(request)}
    if name == "deep" and "steps" in tracer:
        request = {**request, "gas": "0x7530"}  # a shorter way down is enough
    there, here = (
        comparable(answer(node, "debug_traceCall", request, "latest", config), tracer)
        for node in (theirs, ours)
    )
    if name in UNCOUNTED:
        for trace in (there, here):
            for step in trace.get("structLogs", ()):
                step.pop("gasCost")
    assert here == there

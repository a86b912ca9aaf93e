"""geth's struct logger: one entry an instruction."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import COUNTER, LOOP
from ethereum.tracing.test_replay import caller_of
from npipe.errors import RPCError

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


@pytest.fixture
def counted(call: Call, alice: str, deploy: Deploy) -> str:
    """A transaction that stores and logs."""
    return str(call("eth_sendTransaction", {"from": alice, "to": deploy(COUNTER)}))


def test_struct_logs_are_one_an_instruction(call: Call, counted: str) -> None:
    trace = call("debug_traceTransaction", counted)
    steps = trace["structLogs"]
    assert [step["op"] for step in steps] == [
        *("PUSH1", "SLOAD", "PUSH1", "ADD", "DUP1", "PUSH1", "SSTORE", "PUSH1", "MSTORE"),
        *("CALLER", "PUSH1", "PUSH1", "LOG1", "PUSH1", "PUSH1", "RETURN"),
    ]
    assert [step["pc"] for step in steps][:5] == [0, 2, 3, 5, 6]
    assert {step["depth"] for step in steps} == {1}
    slot = "0x" + "0" * 64
    assert steps[6]["stack"] == ["0x1", "0x1", "0x0"][: len(steps[6]["stack"])]
    assert steps[6]["storage"] == {slot: "0x" + "0" * 63 + "1"}
    assert (steps[1]["gasCost"], steps[6]["gasCost"]) == (2100, 20000)  # cold, then from nothing
    for step, after in itertools.pairwise(steps):
        assert step["gas"] - step["gasCost"] == after["gas"]
    receipt = call("eth_getTransactionReceipt", counted)
    assert (trace["gas"], trace["failed"]) == (int(receipt["gasUsed"], 16), False)
    assert int(trace["returnValue"], 16) == 1


def test_parts_of_a_trace_can_be_left_out_and_put_in(call: Call, counted: str) -> None:
    options = {"disableStack": True, "disableStorage": True, "enableMemory": True, "limit": 12}
    steps = call("debug_traceTransaction", counted, options)["structLogs"]
    assert len(steps) == 12
    assert all("stack" not in step and "storage" not in step for step in steps)
    assert steps[-1]["memory"] == ["0x" + "0" * 63 + "1"]


def test_what_a_call_costs_is_what_it_hands_on(call: Call, deploy: Deploy) -> None:
    """As in geth: gasCost of a CALL has the gas that the called contract gets in it."""
    caller = deploy(caller_of(deploy(COUNTER)))
    steps = call("debug_traceCall", {"to": caller, "gas": "0x30d40"}, "latest")["structLogs"]
    at = next(index for index, step in enumerate(steps) if step["op"] == "CALL")
    assert steps[at + 1]["depth"] == 2
    # the account was cold, and a word of memory is made for the result
    assert steps[at]["gasCost"] == steps[at + 1]["gas"] + 2600 + 3


def test_a_trace_has_an_end(call: Call, deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npipe.ethereum.tracing.struct_tracer._MAX_STEPS", 100)
    request = {"to": deploy(LOOP), "gas": "0x6000"}
    with pytest.raises(RPCError, match="more than 100 steps: pass a limit"):
        call("debug_traceCall", request, "latest")
    limited = call("debug_traceCall", request, "latest", {"limit": 7})
    assert len(limited["structLogs"]) == 7

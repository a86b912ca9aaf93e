"""What the EVM did: by instruction, by call, and which storage it touched."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import COUNTER, LOOP, REVERT, STORE, assemble
from npipe.errors import RPCError
from npipe.ethereum.tracing import replay

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


def caller_of(address: str, how: str = "CALL") -> bytes:
    """A contract that calls another one without data, and passes on what it returns."""
    value = "0x00" if how == "CALL" else ""
    return assemble(f"0x20 0x00 0x00 0x00 {value} {address} GAS {how} POP 0x20 0x00 RETURN")


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


def test_a_replay_starts_from_the_state_before_it(call: Call, alice: str, deploy: Deploy) -> None:
    counter = deploy(COUNTER)
    call("evm_setAutomine", False)
    sent = [call("eth_sendTransaction", {"from": alice, "to": counter}) for _ in range(3)]
    call("evm_mine")
    traces = call("debug_traceBlockByNumber", "latest")
    assert [int(trace["result"]["returnValue"], 16) for trace in traces] == [1, 2, 3]
    assert [trace["txHash"] for trace in traces] == sent
    third = call("debug_traceTransaction", sent[2])
    assert third == traces[2]["result"]
    block = call("eth_getBlockByNumber", "latest", False)["hash"]
    assert call("debug_traceBlockByHash", block) == traces


def test_the_calls_of_a_transaction(call: Call, alice: str, deploy: Deploy) -> None:
    counter = deploy(COUNTER)
    caller = deploy(caller_of(counter))
    request = {"from": alice, "to": caller, "value": "0x5", "gas": "0x30d40"}
    sent = call("eth_sendTransaction", request)
    options = {"tracer": "callTracer", "tracerConfig": {"withLog": True}}
    top = call("debug_traceTransaction", sent, options)
    receipt = call("eth_getTransactionReceipt", sent)
    assert (top["type"], top["from"], top["to"], top["value"]) == ("CALL", alice, caller, "0x5")
    assert top["gasUsed"] == receipt["gasUsed"]
    (inner,) = top["calls"]
    assert (inner["type"], inner["from"], inner["to"]) == ("CALL", caller, counter)
    assert int(inner["output"], 16) == 1
    assert [log["address"] for log in inner["logs"]] == [counter]
    only = {"tracer": "callTracer", "tracerConfig": {"onlyTopCall": True}}
    assert "calls" not in call("debug_traceTransaction", sent, only)


def test_a_delegated_call_names_whose_code_runs(call: Call, deploy: Deploy) -> None:
    counter = deploy(COUNTER)
    caller = deploy(caller_of(counter, "DELEGATECALL"))
    options = {"tracer": "callTracer"}
    (inner,) = call("debug_traceCall", {"to": caller}, "latest", options)["calls"]
    assert (inner["type"], inner["to"]) == ("DELEGATECALL", counter)


def test_what_a_call_costs_is_what_it_hands_on(call: Call, deploy: Deploy) -> None:
    """As in geth: gasCost of a CALL has the gas that the called contract gets in it."""
    caller = deploy(caller_of(deploy(COUNTER)))
    steps = call("debug_traceCall", {"to": caller, "gas": "0x30d40"}, "latest")["structLogs"]
    at = next(index for index, step in enumerate(steps) if step["op"] == "CALL")
    assert steps[at + 1]["depth"] == 2
    # the account was cold, and a word of memory is made for the result
    assert steps[at]["gasCost"] == steps[at + 1]["gas"] + 2600 + 3


def test_failures_are_in_the_trace(call: Call, alice: str, deploy: Deploy) -> None:
    reverting, endless = deploy(REVERT), deploy(LOOP)
    top = call("debug_traceCall", {"to": reverting}, "latest", {"tracer": "callTracer"})
    assert top["error"] == "execution reverted"
    trace = call("debug_traceCall", {"to": endless, "gas": "0x5300"}, "latest")
    assert trace["failed"] is True
    assert trace["structLogs"][-1]["error"] == "out of gas"


def test_a_trace_has_an_end(call: Call, deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npipe.ethereum.tracing.struct_tracer._MAX_STEPS", 100)
    request = {"to": deploy(LOOP), "gas": "0x6000"}
    with pytest.raises(RPCError, match="more than 100 steps: give a limit"):
        call("debug_traceCall", request, "latest")
    limited = call("debug_traceCall", request, "latest", {"limit": 7})
    assert len(limited["structLogs"]) == 7


def test_what_cannot_be_traced(call: Call, counted: str) -> None:
    with pytest.raises(RPCError, match="transaction not found"):
        call("debug_traceTransaction", "0x" + "11" * 32)
    with pytest.raises(RPCError, match="genesis is not traceable"):
        call("debug_traceBlockByNumber", "0x0")
    with pytest.raises(RPCError, match="there is no tracer 'muxTracer' here: callTracer, prestate"):
        call("debug_traceTransaction", counted, {"tracer": "muxTracer"})


def test_tracing_leaves_no_mark(call: Call, counted: str) -> None:
    root = call("eth_getBlockByNumber", "latest", False)["stateRoot"]
    call("debug_traceTransaction", counted)
    call("evm_mine")
    assert int(call("eth_getBlockByNumber", "latest", False)["number"], 16) == 3
    assert call("eth_getBlockByNumber", "0x2", False)["stateRoot"] == root


def test_an_access_list_names_what_is_touched(call: Call, alice: str, deploy: Deploy) -> None:
    store = deploy(STORE)
    caller = deploy(caller_of(store))
    request = {"from": alice, "to": caller}
    made = call("eth_createAccessList", request)
    assert made["accessList"] == [{"address": store, "storageKeys": ["0x" + "00" * 32]}]
    with_list = {**request, "accessList": made["accessList"]}
    assert int(made["gasUsed"], 16) <= int(call("eth_estimateGas", with_list), 16)
    assert "error" not in made
    failing = call("eth_createAccessList", {"from": alice, "to": deploy(REVERT)})
    assert failing["error"] == "execution reverted"


@pytest.fixture
def looped(call: Call, alice: str, deploy: Deploy) -> str:
    """A transaction that runs out of gas in a loop."""
    return str(
        call("eth_sendTransaction", {"from": alice, "to": deploy(LOOP), "gas": hex(100_000)})
    )


@pytest.mark.parametrize("tracer", ["", "callTracer", "prestateTracer", "4byteTracer"])
def test_every_trace_ends_in_time(call: Call, looped: str, tracer: str) -> None:
    transaction = call("eth_getTransactionByHash", looped)
    request = {"to": transaction["to"], "gas": hex(100_000)}
    number, block = transaction["blockNumber"], transaction["blockHash"]
    for seconds, match in (("1ns", r"^execution timeout \(code"), ("5", "time: missing unit")):
        config = {"tracer": tracer, "timeout": seconds}
        for method, params in (
            ("debug_traceTransaction", (looped,)),
            ("debug_traceBlockByNumber", (number,)),
            ("debug_traceBlockByHash", (block,)),
            ("debug_traceCall", (request, "latest")),
        ):
            with pytest.raises(RPCError, match=match):
                call(method, *params, config)
    config = {"tracer": tracer, "timeout": "1m"}
    assert call("debug_traceTransaction", looped, config) is not None


def test_a_trace_does_not_run_in_the_worker_of_the_chain(
    call: Call, looped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other clients are served meanwhile."""
    plain, threads = replay.traced, []

    def traced(*args: Any) -> Any:
        threads.append(threading.current_thread().name)
        return plain(*args)

    monkeypatch.setattr(replay, "traced", traced)
    call("debug_traceTransaction", looped)
    call("debug_traceBlockByNumber", "latest")
    call("debug_traceCall", {"to": "0x" + "12" * 20}, "latest")
    assert [name.rstrip("0123456789") for name in threads] == ["npipe-trial-"] * 3

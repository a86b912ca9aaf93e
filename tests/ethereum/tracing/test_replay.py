"""What the EVM did: by instruction, by call, and which storage it touched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import COUNTER, LOOP, REVERT, assemble
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


def test_failures_are_in_the_trace(call: Call, alice: str, deploy: Deploy) -> None:
    reverting, endless = deploy(REVERT), deploy(LOOP)
    top = call("debug_traceCall", {"to": reverting}, "latest", {"tracer": "callTracer"})
    assert top["error"] == "execution reverted"
    trace = call("debug_traceCall", {"to": endless, "gas": "0x5300"}, "latest")
    assert trace["failed"] is True
    assert trace["structLogs"][-1]["error"] == "out of gas"


def test_what_cannot_be_traced(call: Call, counted: str) -> None:
    with pytest.raises(RPCError, match="transaction not found"):
        call("debug_traceTransaction", "0x" + "11" * 32)
    with pytest.raises(RPCError, match="genesis is not traceable"):
        call("debug_traceBlockByNumber", "0x0")
    with pytest.raises(
        RPCError, match="unknown tracer 'muxTracer': use one of callTracer, prestate"
    ):
        call("debug_traceTransaction", counted, {"tracer": "muxTracer"})


def test_tracing_leaves_no_mark(call: Call, counted: str) -> None:
    root = call("eth_getBlockByNumber", "latest", False)["stateRoot"]
    call("debug_traceTransaction", counted)
    call("evm_mine")
    assert int(call("eth_getBlockByNumber", "latest", False)["number"], 16) == 3
    assert call("eth_getBlockByNumber", "0x2", False)["stateRoot"] == root


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

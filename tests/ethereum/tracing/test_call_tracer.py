"""geth's callTracer and 4byteTracer: frames, without the instructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ethereum.contracts import COUNTER, LOGGER, assemble
from ethereum.tracing.test_replay import caller_of

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


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


def test_the_logs_of_a_frame_that_failed_are_dropped(call: Call, deploy: Deploy) -> None:
    logger = deploy(LOGGER)
    failing = deploy(assemble(f"0x00 0x00 0x00 0x00 0x00 {logger} GAS CALL POP 0x00 0x00 REVERT"))
    options = {"tracer": "callTracer", "tracerConfig": {"withLog": True}}
    top = call("debug_traceCall", {"to": failing}, "latest", options)
    assert top["error"] == "execution reverted"
    assert "logs" not in top["calls"][0]
    assert "logs" in call("debug_traceCall", {"to": logger}, "latest", options)


def test_functions_are_counted_by_selector_and_size(call: Call, deploy: Deploy) -> None:
    request = {"to": deploy(COUNTER), "data": "0x12345678aabb"}
    counts = call("debug_traceCall", request, "latest", {"tracer": "4byteTracer"})
    assert counts == {"0x12345678-2": 1}
    identity = {"to": "0x" + "00" * 19 + "04", "data": "0x12345678"}
    assert call("debug_traceCall", identity, "latest", {"tracer": "4byteTracer"}) == {}

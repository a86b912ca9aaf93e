"""The accounts and slots that a run touches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ethereum.contracts import REVERT, STORE
from ethereum.tracing.test_replay import caller_of

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]
SLOT, SEVEN = f"0x{0:064x}", f"0x{7:064x}"


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


def test_what_was_there_before_and_what_has_changed(call: Call, alice: str, deploy: Deploy) -> None:
    store = deploy(STORE)
    request = {"from": alice, "to": store, "data": SEVEN, "value": "0x1"}
    before = call("debug_traceCall", request, "latest", {"tracer": "prestateTracer"})
    assert before[store]["storage"] == {SLOT: SLOT}
    assert before[store]["code"] == "0x" + STORE.hex()
    options = {"tracer": "prestateTracer", "tracerConfig": {"diffMode": True}}
    changed = call("debug_traceCall", request, "latest", options)
    assert changed["post"][store] == {"balance": "0x1", "storage": {SLOT: SEVEN}}
    assert "storage" not in changed["pre"][store]
    assert int(changed["post"][alice]["balance"], 16) < int(changed["pre"][alice]["balance"], 16)

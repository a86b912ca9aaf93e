"""eth_simulateV1: blocks one upon the other, of which nothing is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import COUNTER, assemble
from npipe.errors import RPCError

Call = Callable[..., Any]
C = "0x" + "77" * 20


def test_each_block_is_built_upon_the_one_before(call: Call) -> None:
    code = {C: {"code": "0x" + COUNTER.hex()}}
    blocks = [{"stateOverrides": code, "calls": [{"to": C}, {"to": C}]}, {"calls": [{"to": C}]}]
    head = call("eth_getBlockByNumber", "latest", False)
    first, second = call("eth_simulateV1", {"blockStateCalls": blocks})
    counted = [int(each["returnData"], 16) for block in (first, second) for each in block["calls"]]
    assert counted == [1, 2, 3]
    assert (first["parentHash"], second["parentHash"]) == (head["hash"], first["hash"])
    assert [log["logIndex"] for each in first["calls"] for log in each["logs"]] == ["0x0", "0x1"]
    assert call("eth_getCode", C) == "0x"
    assert call("eth_blockNumber") == "0x0"


def test_money_that_is_sent_is_logged_where_it_is_asked_for(call: Call, alice: str) -> None:
    calls = [{"from": alice, "to": C, "value": "0x7"}]
    simulation = {"blockStateCalls": [{"calls": calls}]}
    (plain,) = call("eth_simulateV1", simulation)
    (traced,) = call("eth_simulateV1", {**simulation, "traceTransfers": True})
    assert plain["calls"][0]["logs"] == []
    (log,) = traced["calls"][0]["logs"]
    assert (log["address"], int(log["data"], 16)) == ("0x" + "ee" * 20, 7)
    assert log["topics"][1:] == ["0x" + "00" * 12 + party[2:] for party in (alice, C)]


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"nonce": "0x5"}, -38011, "nonce too high"),
        ({"maxFeePerGas": "0x1"}, -38012, "max fee per gas less than block base fee"),
        ({"gas": "0x5207"}, -38013, "intrinsic gas too low"),
        ({"value": hex(10**30)}, -38014, "insufficient funds"),
        ({"gas": hex(10**9)}, -38015, "block gas limit reached"),
    ],
)
def test_what_no_block_could_have_is_an_error_of_the_specification(
    call: Call, alice: str, fields: dict[str, Any], code: int, message: str
) -> None:
    request = {"from": alice, "to": C, "gas": "0xffff", "maxFeePerGas": hex(10**11), **fields}
    with pytest.raises(RPCError, match=message) as caught:
        call("eth_simulateV1", {"validation": True, "blockStateCalls": [{"calls": [request]}]})
    assert caught.value.code == code


def test_a_block_knows_the_hash_of_the_one_before(call: Call) -> None:
    parent_hash = assemble("0x01 NUMBER SUB BLOCKHASH 0x00 MSTORE 0x20 0x00 RETURN")
    code = {C: {"code": "0x" + parent_hash.hex()}}
    blocks = [{"stateOverrides": code}, {"calls": [{"to": C}]}]
    first, second = call("eth_simulateV1", {"blockStateCalls": blocks})
    assert second["calls"][0]["returnData"] == first["hash"]

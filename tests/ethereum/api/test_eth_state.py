"""The namespace eth: state at a block, and calls that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import ANSWER, REVERT, STORE
from npipe.errors import RPCError

Call = Callable[..., Any]
Deploy = Callable[[bytes], str]


def test_a_contract_is_deployed_and_called(call: Call, deploy: Deploy) -> None:
    address = deploy(ANSWER)
    assert int(call("eth_call", {"to": address}, "latest"), 16) == 42
    assert call("eth_call", {"to": address}, "0x0") == "0x"  # it was not there yet


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_a_revert_is_error_3_with_its_data(
    call: Call, alice: str, deploy: Deploy, method: str
) -> None:
    address = deploy(REVERT)
    with pytest.raises(RPCError) as caught:
        call(method, {"from": alice, "to": address, "input": "0xdeadbeef"})
    assert (caught.value.code, caught.value.message) == (3, "execution reverted")
    assert caught.value.data == "0xdeadbeef"


def test_the_reason_of_a_revert_is_in_the_message(call: Call, deploy: Deploy) -> None:
    address = deploy(REVERT)
    reason = b"not today"
    error = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + len(reason).to_bytes(32, "big")
    with pytest.raises(RPCError, match=r"^execution reverted: not today"):
        call("eth_call", {"to": address, "input": "0x" + (error + reason.ljust(32, b"\0")).hex()})
    panic = bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")
    with pytest.raises(RPCError, match="arithmetic underflow or overflow"):
        call("eth_call", {"to": address, "input": "0x" + panic.hex()})


@pytest.mark.parametrize("address", ["0x1234", 7, None, "f" * 42])
def test_a_bad_address_is_bad_params(call: Call, address: Any) -> None:
    with pytest.raises(RPCError) as caught:
        call("eth_getBalance", address)
    assert caught.value.code == -32602


def test_input_is_preferred_to_data_in_a_call(call: Call, deploy: Deploy) -> None:
    address = deploy(REVERT)
    with pytest.raises(RPCError) as caught:
        call("eth_call", {"to": address, "data": "0x01", "input": "0x02"})
    assert caught.value.data == "0x02"


def test_storage_of_several_contracts_is_read_in_one_call(
    call: Call, alice: str, deploy: Deploy
) -> None:
    store, empty = deploy(STORE), deploy(ANSWER)
    call("eth_sendTransaction", {"from": alice, "to": store, "input": f"0x{7:064x}"})
    slots = {store: ["0x0", "0x1"], empty: ["0x0"]}
    assert call("eth_getStorageValues", slots) == {
        store: [f"0x{7:064x}", f"0x{0:064x}"],
        empty: [f"0x{0:064x}"],
    }
    for bad, message in (({}, "empty request"), ({store: ["0x0"] * 1025}, "too many slots")):
        with pytest.raises(RPCError, match=message):
            call("eth_getStorageValues", bad)

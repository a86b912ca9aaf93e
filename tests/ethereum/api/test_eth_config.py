"""The namespace eth: forks, and how much of the history there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Call = Callable[..., Any]


def test_the_only_fork_is_prague(call: Call) -> None:
    told = call("eth_config")
    assert (told["next"], told["last"]) == (None, None)
    current = told["current"]
    assert current["chainId"] == "0x539"
    assert current["blobSchedule"] == {"baseFeeUpdateFraction": 5_007_716, "max": 9, "target": 6}
    assert current["precompiles"]["ECREC"] == "0x" + "00" * 19 + "01"
    assert current["precompiles"]["BLS12_MAP_FP2_TO_G2"] == "0x" + "00" * 19 + "11"
    contracts = current["systemContracts"]
    assert {"BEACON_ROOTS_ADDRESS", "HISTORY_STORAGE_ADDRESS"} < set(contracts)
    assert len(call("eth_getCode", contracts["BEACON_ROOTS_ADDRESS"])) > 4


def test_all_of_the_history_can_be_asked(call: Call) -> None:
    call("evm_mine")
    told = call("eth_capabilities")
    block = call("eth_getBlockByNumber", "latest", False)
    assert told["head"] == {"number": "0x1", "hash": block["hash"]}
    assert told["logs"] == {"disabled": False, "oldestBlock": "0x0"}

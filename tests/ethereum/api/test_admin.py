"""The namespace admin."""

from __future__ import annotations

from typing import Any


def test_admin_tells_of_the_node(call: Any) -> None:
    info = call("admin_nodeInfo")
    assert info["protocols"]["eth"]["network"] == 1337
    assert call("admin_peers") == []
    assert call("admin_datadir") == ""


def test_it_names_the_newest_block(call: Any) -> None:
    call("evm_mine")
    told = call("admin_nodeInfo")["protocols"]["eth"]
    assert told["head"] == call("eth_getBlockByNumber", "0x1", False)["hash"]
    assert told["genesis"] == call("eth_getBlockByNumber", "0x0", False)["hash"]
    assert told["number"] == "0x1"

"""Development chains against each other: ``npipe serve``, eth-tester behind a socket, anvil, geth.

Each in a process of its own, asked by the same raw client, one call after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from . import rawclient
from .harness import Table, measure
from .rpc import servers

KINDS = ("npipe-chain", "eth-tester", "anvil", "geth")


def tables(rounds: int) -> Iterator[Table]:
    with servers(KINDS) as (addresses, absent):
        owners = {
            kind: rawclient.ask(address, "eth_accounts")[0] for kind, address in addresses.items()
        }
        for method, params, count in (
            ("eth_blockNumber", lambda owner: [], 300),
            ("eth_getBalance", lambda owner: [owner, "latest"], 100),
            ("eth_getBlockByNumber", lambda owner: ["latest", False], 50),
            ("eth_sendTransaction", _transfer, 5),
        ):
            asked = {kind: json.dumps(params(owner)) for kind, owner in owners.items()}
            yield measure(
                f"Development chains: {method}",
                "calls/s (more is better)",
                [
                    (kind, partial(rawclient.sequential, address, method, count, asked[kind]))
                    for kind, address in addresses.items()
                ],
                reference="eth-tester" if "eth-tester" in addresses else "npipe-chain",
                rounds=rounds,
                absent=absent,
            )


def _transfer(owner: str) -> list[dict[str, str]]:
    return [{"from": owner, "to": "0x" + "11" * 20, "value": "0x1", "gas": "0x5208"}]

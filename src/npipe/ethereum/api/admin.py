"""The namespace admin, as in geth: this server. For its owner only. Imports no py-evm."""

from __future__ import annotations

from typing import Any

from npipe.ethereum.api.web3 import client_version
from npipe.ethereum.node.node import Node
from npipe.ethereum.values.types import data, quantity

__all__ = ["Admin"]


class Admin:
    """Information about this node. It has no peers."""

    def __init__(self, node: Node, datadir: str) -> None:
        self._node = node
        self._datadir = datadir

    def node_info(self) -> dict[str, Any]:
        """Return the name of the node, its chain and its newest block, in the form of geth.

        Source: geth's documentation, namespace admin.
        """
        chain = self._node.chain
        genesis, head = chain.blocks[0], chain.head
        return {
            "name": client_version(),
            "ports": {},
            "listenAddr": "",
            "protocols": {
                "eth": {
                    "network": chain.chain_id,
                    "genesis": data(genesis.hash),
                    "head": data(head.hash),
                    "config": {"chainId": chain.chain_id},
                    "number": quantity(head.number),
                }
            },
        }

    def peers(self) -> list[Any]:
        """Return the peers of the node: always an empty list.

        Source: geth's documentation, namespace admin.
        """
        return []

    def datadir(self) -> str:
        """Return the path of the state file; "" for a chain in memory only.

        Source: geth's documentation, namespace admin.
        """
        return self._datadir

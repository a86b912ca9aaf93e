"""The namespace eth, seventh part: what this node can do, for tools that choose among nodes."""

from __future__ import annotations

import zlib
from typing import Any

from eth.vm.forks.cancun.constants import BEACON_ROOTS_ADDRESS
from eth.vm.forks.prague.constants import (
    BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE,
    HISTORY_STORAGE_ADDRESS,
)

from npipe.ethereum.node.node import Node
from npipe.ethereum.values.types import data, quantity
from npipe.rpc.service.api import method

__all__ = ["EthConfig"]

# EIP-7910's names, in the order of the addresses, which begin at 1.
_PRECOMPILES = (
    *("ECREC", "SHA256", "RIPEMD160", "ID", "MODEXP", "BN254_ADD", "BN254_MUL", "BN254_PAIRING"),
    *("BLAKE2F", "KZG_POINT_EVALUATION", "BLS12_G1ADD", "BLS12_G1MSM", "BLS12_G2ADD"),
    *("BLS12_G2MSM", "BLS12_PAIRING_CHECK", "BLS12_MAP_FP_TO_G1", "BLS12_MAP_FP2_TO_G2"),
)
_RESOURCES = ("state", "tx", "logs", "receipts", "blocks", "stateproofs")


class EthConfig:
    """The rules (Prague from the first block on) and the history (all of it)."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @method(inline=True)
    def config(self) -> dict[str, Any]:
        """The fork that is active, and that none will follow (EIP-7910)."""
        genesis = self._node.chain.blocks[0]
        current = {
            "activationTime": genesis.header.timestamp,
            "blobSchedule": {
                "baseFeeUpdateFraction": BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE,
                "max": 9,
                "target": 6,
            },
            "chainId": quantity(self._node.chain.chain_id),
            "forkId": f"0x{zlib.crc32(genesis.hash):08x}",
            "precompiles": {
                name: f"0x{number:040x}" for number, name in enumerate(_PRECOMPILES, 1)
            },
            "systemContracts": {
                "BEACON_ROOTS_ADDRESS": data(BEACON_ROOTS_ADDRESS),
                "HISTORY_STORAGE_ADDRESS": data(HISTORY_STORAGE_ADDRESS),
            },
        }
        return {"current": current, "next": None, "last": None}

    @method(inline=True)
    def capabilities(self) -> dict[str, Any]:
        """How far back one can ask: to the first block, for everything."""
        head = self._node.head
        everything = {"disabled": False, "oldestBlock": "0x0"}
        return {
            "head": {"number": quantity(head.number), "hash": data(head.hash)},
            **dict.fromkeys(_RESOURCES, everything),
        }

"""The namespace eth, seventh part: the forks and the data that this node has."""

from __future__ import annotations

from typing import Any

from npipe.ethereum.evm.forks import Fork
from npipe.ethereum.evm.system_contracts import ADDRESSES
from npipe.ethereum.node.node import Node
from npipe.ethereum.values.types import data, quantity
from npipe.rpc.service.decorators import method

__all__ = ["EthConfig"]

# EIP-7910's names, in the order of the addresses, which begin at 1.
_PRECOMPILES = (
    *("ECREC", "SHA256", "RIPEMD160", "ID", "MODEXP", "BN254_ADD", "BN254_MUL", "BN254_PAIRING"),
    *("BLAKE2F", "KZG_POINT_EVALUATION", "BLS12_G1ADD", "BLS12_G1MSM", "BLS12_G2ADD"),
    *("BLS12_G2MSM", "BLS12_PAIRING_CHECK", "BLS12_MAP_FP_TO_G1", "BLS12_MAP_FP2_TO_G2"),
)
_RESOURCES = ("state", "tx", "logs", "receipts", "blocks", "stateproofs")


class EthConfig:
    """The forks of the chain, and the available part of its history: all of it."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @method(inline=True)
    def config(self) -> dict[str, Any]:
        """Return the active fork, the next one and the last one that is scheduled (EIP-7910).

        Each has its activation time in seconds, its blob schedule, precompiles and system
        contracts. ``next`` and ``last`` are null if no fork follows.
        Source: execution-apis and EIP-7910.
        """
        forks = self._node.chain.forks
        current = forks.of_header(self._node.head.header)
        following = forks.after(current)
        return {
            "current": self._shape(current),
            "next": self._shape(following) if following else None,
            "last": self._shape(forks.last) if following else None,
        }

    @method(inline=True)
    def capabilities(self) -> dict[str, Any]:
        """Return the newest block, and the oldest available block for each kind of data.

        Numbers of blocks are in hex. Source: execution-apis.
        """
        head = self._node.head
        everything = {"disabled": False, "oldestBlock": "0x0"}
        return {
            "head": {"number": quantity(head.number), "hash": data(head.hash)},
            **dict.fromkeys(_RESOURCES, everything),
        }

    def _shape(self, fork: Fork) -> dict[str, Any]:
        chain = self._node.chain
        genesis = chain.blocks[0]
        known = {int.from_bytes(address, "big") for address in fork.precompiles}
        blobs = fork.blobs
        return {
            "activationTime": genesis.header.timestamp if fork.time is None else fork.time,
            "blobSchedule": blobs
            and {
                "baseFeeUpdateFraction": blobs.fraction,
                "max": blobs.max,
                "target": blobs.target,
            },
            "chainId": quantity(chain.chain_id),
            "forkId": data(chain.forks.identifier(fork, genesis.hash, genesis.header.timestamp)),
            "precompiles": {
                name: f"0x{number:040x}"
                for number, name in enumerate(_PRECOMPILES, 1)
                if number in known
            },
            "systemContracts": {name: data(address) for name, address in ADDRESSES.items()},
        }

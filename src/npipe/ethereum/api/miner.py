"""The namespace miner, as in geth, for a chain on which mining costs nothing."""

from __future__ import annotations

from npipe.ethereum.node.node import Node
from npipe.ethereum.node.worker import CooperativeJob, on_worker
from npipe.ethereum.values.types import Address, to_bytes
from npipe.rpc.service.context import Context

__all__ = ["Miner"]


class Miner:
    """Automatic mining, and the receiver of the priority fees."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker
    def start(self, context: Context, threads: int | None = None) -> CooperativeJob[None]:
        """Mine each transaction at once, beginning with the pending ones. Returns null.

        Source: geth's documentation, namespace miner.
        """
        with self._node.hub.caused_by(context):
            yield from self._node.set_automine(True)

    @on_worker
    def stop(self) -> CooperativeJob[None]:
        """Stop mining each transaction at once. Returns null.

        Source: geth's documentation, namespace miner.
        """
        yield from self._node.set_automine(False)

    @on_worker(writes=True)
    def set_etherbase(self, address: Address) -> bool:
        """Set the address that receives the priority fees of the next blocks. Returns true.

        Source: geth's documentation, namespace miner.
        """
        self._node.chain.coinbase = to_bytes(address)
        return True

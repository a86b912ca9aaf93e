"""The namespace evm: what only a development chain can do. Time, blocks on demand, going back.

The names are those that ganache began with and hardhat and anvil kept.
"""

from __future__ import annotations

import msgspec

from npipe.rpc.context import Context

from .errors import ChainError
from .formats import Quantity, quantity, to_int
from .node import Node
from .worker import Steps, on_worker

__all__ = ["Evm"]


class MineOptions(msgspec.Struct):
    """What evm_mine may be given, in ganache's form."""

    timestamp: Quantity | None = None
    blocks: int = 1


class Evm:
    """Control over the chain's time and height."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker(writes=True)
    def snapshot(self) -> str:
        """Remember the chain as it is. Returns the id to give to evm_revert."""
        return quantity(self._node.snapshot())

    @on_worker(writes=True)
    def revert(self, snapshot: Quantity) -> bool:
        """Go back to a snapshot, which is used up; false where there is none of that id."""
        return self._node.revert(to_int(snapshot))

    @on_worker
    def mine(self, context: Context, options: Quantity | MineOptions | None = None) -> Steps[str]:
        """Add a block, at a time of one's choice, or several. Returns "0x0", as ganache did."""
        if not isinstance(options, MineOptions):
            options = MineOptions(timestamp=options)
        if options.timestamp is not None:
            self._node.chain.set_next_timestamp(to_int(options.timestamp))
        with self._node.hub.caused_by(context):
            for _ in self._node.mine_many(options.blocks):
                yield
                if context.cancelled:  # nobody waits for the others
                    break
        return "0x0"

    @on_worker(writes=True)
    def increase_time(self, seconds: Quantity) -> int:
        """Move the chain's clock on. Returns how far it is from the system's, in seconds."""
        return self._node.chain.clock.advance(to_int(seconds))

    @on_worker(writes=True)
    def set_next_block_timestamp(self, timestamp: Quantity) -> None:
        """Give the next block this time, later than the last one's; the clock goes on from it."""
        self._node.chain.set_next_timestamp(to_int(timestamp))

    @on_worker
    def set_automine(self, context: Context, on: bool) -> Steps[bool]:
        """Mine each transaction at once, or let them wait for evm_mine. Returns true."""
        with self._node.hub.caused_by(context):
            yield from self._node.set_automine(on)
        return True

    @on_worker(writes=True)
    def set_interval_mining(self, seconds: Quantity) -> None:
        """Mine a block each so many seconds; 0 stops that."""
        period = to_int(seconds)
        if period > 86_400:
            raise ChainError("an interval of more than a day")
        self._worker.every(period, self._node.mine)

"""The namespace evm: what only a development chain can do. Time, blocks on demand, going back.

The names are those that ganache began with and hardhat and anvil kept.
"""

from __future__ import annotations

from .errors import ChainError
from .formats import Quantity, quantity, to_int
from .node import Node
from .worker import on_worker

__all__ = ["Evm"]


class Evm:
    """Control over the chain's time and height."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker
    def snapshot(self) -> str:
        """Remember the chain as it is. Returns the id to give to evm_revert."""
        return quantity(self._node.snapshot())

    @on_worker
    def revert(self, snapshot: Quantity) -> bool:
        """Go back to a snapshot, which is used up; false where there is none of that id."""
        return self._node.revert(to_int(snapshot))

    @on_worker
    def mine(self, timestamp: Quantity | None = None) -> str:
        """Add one block, at a time of one's choice. Returns "0x0", as ganache did."""
        if timestamp is not None:
            self._node.chain.set_next_timestamp(to_int(timestamp))
        self._node.mine()
        return "0x0"

    @on_worker
    def increase_time(self, seconds: Quantity) -> int:
        """Move the chain's clock on. Returns how far it is from the system's, in seconds."""
        return self._node.chain.increase_time(to_int(seconds))

    @on_worker
    def set_next_block_timestamp(self, timestamp: Quantity) -> None:
        """Give the next block this time, later than the last one's; the clock goes on from it."""
        self._node.chain.set_next_timestamp(to_int(timestamp))

    @on_worker
    def set_automine(self, on: bool) -> bool:
        """Mine each transaction at once, or let them wait for evm_mine. Returns true."""
        self._node.automine = on
        return True

    @on_worker
    def set_interval_mining(self, seconds: Quantity) -> None:
        """Mine a block each so many seconds; 0 stops that."""
        period = to_int(seconds)
        if period > 86_400:
            raise ChainError("an interval of more than a day")
        self._worker.every(period, self._node.mine)

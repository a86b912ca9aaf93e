"""The namespace evm: time, blocks on demand and snapshots, for development chains only.

The names are ganache's, which hardhat and anvil have kept; those of ``Ganache`` are in ganache
only. ``anvil`` has the other methods.
"""

from __future__ import annotations

import msgspec

from npipe.ethereum.errors import ChainError
from npipe.ethereum.node.node import Node
from npipe.ethereum.node.worker import CooperativeJob, on_worker
from npipe.ethereum.values.types import (
    Address,
    Data,
    Hash,
    Quantity,
    Uint64,
    quantity,
    to_bytes,
    to_int,
)
from npipe.rpc.service.context import Context

__all__ = ["Evm", "Ganache"]


class MineOptions(msgspec.Struct):
    """The options of evm_mine, in the form of ganache."""

    timestamp: Quantity | None = None
    blocks: int = 1


class Evm:
    """Control over the time and the height of the chain."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker(writes=True)
    def snapshot(self) -> str:
        """Save the state of the chain. Returns the id for evm_revert, in hex.

        Source: ganache's documentation.
        """
        return quantity(self._node.snapshot())

    @on_worker(writes=True)
    def revert(self, snapshot: Quantity) -> bool:
        """Restore a snapshot, and remove it. Returns true, or false if there is none with that id.

        Source: ganache's documentation.
        """
        return self._node.revert(to_int(snapshot))

    @on_worker(writes=True)
    def increase_time(self, seconds: Quantity) -> int:
        """Move the clock of the chain forward, in seconds. Returns its offset, in seconds.

        The offset is that of the clock of the chain from the clock of the system.
        Source: ganache's documentation.
        """
        chain = self._node.chain
        return chain.clock.advance(to_int(seconds), chain.head.header.timestamp)

    @on_worker(writes=True)
    def set_time(self, timestamp: Quantity) -> int:
        """Set the clock of the chain, in seconds since 1970. Returns its offset, in seconds.

        The offset is that from the clock of the system. Source: ganache's documentation.
        """
        return self._node.chain.clock.set(to_int(timestamp))

    @on_worker(writes=True)
    def set_next_block_timestamp(self, timestamp: Quantity) -> None:
        """Set the timestamp of the next block, in seconds since 1970 (UTC).

        Later blocks continue from it. Returns null. Source: hardhat's documentation.
        """
        self._node.chain.set_next_timestamp(to_int(timestamp))

    @on_worker
    def set_automine(self, context: Context, on: bool) -> CooperativeJob[bool]:
        """Enable or disable mining each transaction at once. Returns true.

        Source: hardhat's documentation.
        """
        with self._node.hub.caused_by(context):
            yield from self._node.set_automine(on)
        return True

    @on_worker(writes=True)
    def set_interval_mining(self, seconds: Quantity) -> None:
        """Mine a block at an interval in seconds; 0 disables it. Returns null.

        Source: anvil's documentation.
        """
        period = to_int(seconds)
        if period > 86_400:
            raise ChainError("the interval is longer than a day (86400 seconds)")
        self._node.set_interval(period)

    @on_worker(writes=True)
    def set_block_gas_limit(self, gas: Uint64) -> bool:
        """Set the gas limit of the next blocks, in units of gas. Returns true.

        Source: anvil's documentation.
        """
        self._node.chain.set_gas_limit(to_int(gas))
        return True

    def _mine(
        self, context: Context, blocks: int, interval: int | None = None
    ) -> CooperativeJob[None]:
        with self._node.hub.caused_by(context):
            for _ in self._node.mine_many(blocks, interval):
                yield None
                if context.cancelled:  # no caller waits for the others
                    break

    def _set_balance(self, address: Address, balance: Quantity) -> None:
        account, wei = to_bytes(address), to_int(balance)
        self._node.chain.alter(lambda state: state.set_balance(account, wei))

    def _set_nonce(self, address: Address, nonce: Uint64) -> None:
        account, number = to_bytes(address), to_int(nonce)
        self._node.chain.alter(lambda state: state.set_nonce(account, number))
        self._node.pool.drop_stale(self._node.chain.state())

    def _set_code(self, address: Address, code: Data) -> None:
        account, octets = to_bytes(address), to_bytes(code)
        self._node.chain.alter(lambda state: state.set_code(account, octets))

    def _set_storage(self, address: Address, slot: Quantity, value: Hash | Quantity) -> bool:
        account, place, word = to_bytes(address), to_int(slot), to_int(value)
        self._node.chain.alter(lambda state: state.set_storage(account, place, word))
        return True


class Ganache(Evm):
    """Methods of the namespace evm that only ganache has. The setters return true."""

    @on_worker
    def mine(
        self, context: Context, options: Quantity | MineOptions | None = None
    ) -> CooperativeJob[str]:
        """Add one block, at a given time in seconds since 1970, or several blocks. Returns "0x0".

        Source: ganache's documentation.
        """
        if not isinstance(options, MineOptions):
            options = MineOptions(timestamp=options)
        if options.timestamp is not None:
            self._node.chain.set_next_timestamp(to_int(options.timestamp))
        yield from self._mine(context, options.blocks)
        return "0x0"

    @on_worker(writes=True)
    def set_account_balance(self, address: Address, balance: Quantity) -> bool:
        """Set the balance of an account, in wei. Returns true.

        Source: ganache's documentation.
        """
        self._set_balance(address, balance)
        return True

    @on_worker(writes=True)
    def set_account_nonce(self, address: Address, nonce: Uint64) -> bool:
        """Set the nonce of the next transaction of an account. Returns true.

        Source: ganache's documentation.
        """
        self._set_nonce(address, nonce)
        return True

    @on_worker(writes=True)
    def set_account_code(self, address: Address, code: Data) -> bool:
        """Set the code of an account; "0x" removes it. Returns true.

        Source: ganache's documentation.
        """
        self._set_code(address, code)
        return True

    @on_worker(writes=True)
    def set_account_storage_at(
        self, address: Address, slot: Quantity, value: Hash | Quantity
    ) -> bool:
        """Set a 32-byte word of the storage of a contract. Returns true.

        Source: ganache's documentation.
        """
        return self._set_storage(address, slot, value)

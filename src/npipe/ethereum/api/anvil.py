"""The namespaces anvil and hardhat: changes of the state for tests of contracts.

One object serves both, because anvil and hardhat give most methods the same names. Results have the
form of anvil's. Every method of the namespace evm is in anvil, too.
"""

from __future__ import annotations

from typing import Any

import msgspec

from npipe.ethereum.api.evm import Evm
from npipe.ethereum.api.web3 import client_version
from npipe.ethereum.errors import ChainError
from npipe.ethereum.node.worker import CooperativeJob, on_worker
from npipe.ethereum.values.types import (
    Address,
    Data,
    Hash,
    Quantity,
    Uint64,
    data,
    quantity,
    to_bytes,
    to_int,
)
from npipe.rpc.service.context import Context

__all__ = ["Anvil"]


class ResetOptions(msgspec.Struct):
    """The options of anvil_reset: the chain to fork, which is not supported."""

    forking: dict[str, Any] | None = None


class Anvil(Evm):
    """Methods that change accounts and blocks directly."""

    # -- accounts -------------------------------------------------------------------------------

    @on_worker(writes=True)
    def add_balance(self, address: Address, balance: Quantity) -> None:
        """Add an amount, in wei, to the balance of an account. Returns null.

        Source: anvil_addBalance of anvil's documentation.
        """
        account, more = to_bytes(address), to_int(balance)
        before = self._node.chain.state().get_balance(account)
        if before + more >= 2**256:
            raise ChainError("the balance would not be below 2**256 wei")
        self._node.chain.alter(lambda state: state.set_balance(account, before + more))

    @on_worker(writes=True)
    def impersonate_account(self, address: Address) -> None:
        """Accept transactions from an account without its key. Returns null.

        Source: anvil's documentation.
        """
        self._node.impersonated.add(to_bytes(address))

    @on_worker(writes=True)
    def stop_impersonating_account(self, address: Address) -> None:
        """Require the key of an account again. Returns null.

        Source: anvil's documentation.
        """
        self._node.impersonated.discard(to_bytes(address))

    @on_worker(writes=True)
    def auto_impersonate_account(self, on: bool) -> None:
        """Accept transactions from any account without its key, or stop doing so. Returns null.

        Source: anvil's documentation.
        """
        self._node.impersonates_all = on

    # -- blocks ---------------------------------------------------------------------------------

    @on_worker
    def mine(
        self, context: Context, blocks: Quantity | None = None, interval: Quantity | None = None
    ) -> CooperativeJob[None]:
        """Add blocks: ``blocks`` of them, one by default. Returns null.

        ``interval`` is the time between the timestamps of the blocks, in seconds.
        Source: anvil's documentation.
        """
        count = 1 if blocks is None else to_int(blocks)
        seconds = None if interval is None else to_int(interval) or None
        yield from self._mine(context, count, seconds)

    @on_worker
    def get_automine(self) -> bool:
        """Tell whether each transaction is mined at once: true or false.

        Source: anvil's documentation.
        """
        return self._node.automine

    @on_worker(writes=True)
    def set_coinbase(self, address: Address) -> None:
        """Set the address that receives the priority fees of the next blocks.

        Source: anvil's documentation.
        """
        self._node.chain.coinbase = to_bytes(address)

    @on_worker(writes=True)
    def set_next_block_base_fee_per_gas(self, base_fee: Quantity) -> None:
        """Set the base fee of the next block, in wei per unit of gas.

        Source: anvil's documentation.
        """
        self._node.chain.next.base_fee = to_int(base_fee)

    @on_worker(writes=True)
    def set_prev_randao(self, value: Hash) -> None:
        """Set PREVRANDAO of the next block, 32 bytes in hex (EIP-4399).

        Source: hardhat's documentation.
        """
        self._node.chain.next.prev_randao = to_bytes(value)

    def set_min_gas_price(self, price: Quantity) -> None:
        """Fail: since London there is a base fee and no minimum gas price.

        Source: anvil's documentation.
        """
        raise ChainError("setMinGasPrice is not supported when EIP-1559 is active")

    @on_worker(writes=True)
    def set_block_timestamp_interval(self, seconds: Uint64) -> None:
        """Set the interval between block timestamps, in seconds.

        Source: anvil's documentation.
        """
        interval = to_int(seconds)
        if not interval:
            raise ChainError("the interval must be at least 1: a block is later than its parent")
        self._node.chain.clock.interval = interval

    @on_worker(writes=True)
    def remove_block_timestamp_interval(self) -> bool:
        """Remove the interval between block timestamps. Returns false if none was set.

        Source: anvil's documentation.
        """
        before = self._node.chain.clock.interval
        self._node.chain.clock.interval = None
        return before is not None

    @on_worker(writes=True)
    def reset(self, options: ResetOptions | None = None) -> None:
        """Return to the first block. Filters and subscriptions stay.

        Source: anvil's documentation.
        """
        forking = (options and options.forking) or {}
        if any(value is not None for value in forking.values()):  # viem sends nulls
            raise ChainError("this chain cannot be forked from another")
        self._node.reset()

    # -- what waits -----------------------------------------------------------------------------

    @on_worker(writes=True)
    def drop_transaction(self, transaction: Hash) -> str | None:
        """Remove a transaction from the pool. Returns its hash, or null if it is not there.

        Source: anvil's documentation.
        """
        waiting = self._node.pool.get(to_bytes(transaction))
        if waiting is None:
            return None
        self._node.pool.discard(waiting)
        return data(waiting.hash)

    @on_worker(writes=True)
    def drop_all_transactions(self) -> None:
        """Remove all transactions from the pool.

        Source: anvil's documentation.
        """
        for waiting in self._node.pool:
            self._node.pool.discard(waiting)

    # -- the node -------------------------------------------------------------------------------

    def set_logging_enabled(self, on: bool) -> None:
        """Do nothing: the command line sets the logging.

        Source: anvil's documentation.
        """

    @on_worker
    def node_info(self) -> dict[str, Any]:
        """Return the newest block and the settings of the node, in the form of anvil.

        Prices are in wei per unit of gas, in hex. Source: anvil's documentation.
        """
        chain = self._node.chain
        fee = chain.next_base_fee()
        return {
            "currentBlockNumber": quantity(chain.head.number),
            "currentBlockTimestamp": chain.head.header.timestamp,
            "currentBlockHash": data(chain.head.hash),
            "hardFork": "Prague",
            "transactionOrder": "fees",
            "environment": {
                "baseFee": quantity(fee),
                "chainId": chain.chain_id,
                "gasLimit": quantity(chain.gas_limit),
                "gasPrice": quantity(self._node.gas_price()),
            },
            "forkConfig": {"forkUrl": None, "forkBlockNumber": None, "forkRetryBackoff": None},
        }

    @on_worker
    def metadata(self) -> dict[str, Any]:
        """Return the version of the node and its newest block, in the form of anvil.

        Numbers are decimal. Source: anvil's documentation.
        """
        chain = self._node.chain
        return {
            "clientVersion": client_version(),
            "chainId": chain.chain_id,
            "instanceId": data(chain.blocks[0].hash),
            "latestBlockNumber": chain.head.number,
            "latestBlockHash": data(chain.head.hash),
            "forkedNetwork": None,
            "snapshots": {},
        }

    # -- what ganache calls otherwise -----------------------------------------------------------

    @on_worker(writes=True)
    def set_balance(self, address: Address, balance: Quantity) -> None:
        """Set the balance of an account, in wei. Returns null.

        Source: anvil's documentation.
        """
        self._set_balance(address, balance)

    @on_worker(writes=True)
    def set_nonce(self, address: Address, nonce: Uint64) -> None:
        """Set the nonce of the next transaction of an account. Returns null.

        Source: anvil's documentation.
        """
        self._set_nonce(address, nonce)

    @on_worker(writes=True)
    def set_code(self, address: Address, code: Data) -> None:
        """Set the code of an account; "0x" removes it. Returns null.

        Source: anvil's documentation.
        """
        self._set_code(address, code)

    @on_worker(writes=True)
    def set_storage_at(self, address: Address, slot: Quantity, value: Hash | Quantity) -> bool:
        """Set a 32-byte word of the storage of a contract. Returns true.

        Source: anvil's documentation.
        """
        return self._set_storage(address, slot, value)

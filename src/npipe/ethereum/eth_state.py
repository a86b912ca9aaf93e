"""The namespace eth, second part: accounts at a block, and calls that change nothing."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .formats import (
    Address,
    BlockId,
    StateOverride,
    TransactionRequest,
    quantity,
    to_bytes,
    to_int,
    word,
)
from .node import Node
from .worker import on_worker

__all__ = ["EthState"]

Slot = Annotated[str, Meta(pattern=r"^0x[0-9a-fA-F]{1,64}$")]
LATEST = "latest"


class EthState:
    """Balances, code, storage, calls. A block that is not there is an error: "header not found"."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker
    def get_balance(self, address: Address, block: BlockId | None = LATEST) -> str:
        """An account's money, in wei."""
        return quantity(self._node.state(block or LATEST).get_balance(to_bytes(address)))

    @on_worker
    def get_code(self, address: Address, block: BlockId | None = LATEST) -> str:
        """A contract's code; "0x" where there is none."""
        return f"0x{self._node.state(block or LATEST).get_code(to_bytes(address)).hex()}"

    @on_worker
    def get_storage_at(self, address: Address, slot: Slot, block: BlockId | None = LATEST) -> str:
        """One of a contract's 32-byte words."""
        state = self._node.state(block or LATEST)
        return word(state.get_storage(to_bytes(address), to_int(slot)))

    @on_worker
    def get_transaction_count(self, address: Address, block: BlockId | None = LATEST) -> str:
        """The nonce of the account's next transaction; "pending" counts those that wait."""
        sender = to_bytes(address)
        if block == "pending":
            return quantity(self._node.pool.next_nonce(sender, self._node.chain.state()))
        return quantity(self._node.state(block or LATEST).get_nonce(sender))

    @on_worker
    def call(
        self,
        transaction: TransactionRequest,
        block: BlockId | None = LATEST,
        overrides: dict[Address, StateOverride] | None = None,
    ) -> str:
        """What a transaction would return, on the state of a block. Nothing of it is kept."""
        return f"0x{self._node.call(transaction, block or LATEST, overrides).hex()}"

    @on_worker
    def estimate_gas(
        self,
        transaction: TransactionRequest,
        block: BlockId | None = LATEST,
        overrides: dict[Address, StateOverride] | None = None,
    ) -> str:
        """The least gas with which a transaction succeeds, exactly."""
        return quantity(self._node.estimate(transaction, block or LATEST, overrides))

"""The namespace eth, first part: who this is, and its blocks and receipts."""

from __future__ import annotations

from typing import Any

from rlp import encode

from npipe.ethereum.chain import encode as shapes
from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.node.node import Node
from npipe.ethereum.node.worker import on_worker
from npipe.ethereum.values.types import (
    BlockId,
    BlockNumber,
    Hash,
    Index,
    quantity,
    to_bytes,
    to_int,
)
from npipe.rpc.service.api import method

__all__ = ["EthBlocks"]


class EthBlocks:
    """Blocks by number, tag or hash. What is not there is null, as the specification has it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @method(inline=True)
    def chain_id(self) -> str:
        """The number that keeps transactions of one chain off another."""
        return quantity(self._node.chain.chain_id)

    @method(inline=True)
    def block_number(self) -> str:
        """The number of the newest block."""
        return quantity(self._node.head.number)

    @method(inline=True)
    def syncing(self) -> bool:
        """False: there is nobody to catch up with."""
        return False

    @method(inline=True)
    def accounts(self) -> list[str]:
        """The addresses whose keys are held here."""
        return [f"0x{address.hex()}" for address in self._node.accounts]

    @method(inline=True)
    def coinbase(self) -> str:
        """Who gets the tips."""
        return f"0x{self._node.chain.coinbase.hex()}"

    @method(inline=True)
    def mining(self) -> bool:
        """Whether blocks are made."""
        return True

    @method(inline=True)
    def hashrate(self) -> str:
        """0: nothing is computed for a block."""
        return "0x0"

    @method(inline=True)
    def protocol_version(self) -> str:
        """The version of the wire protocol that a peer would be met with (eth/68)."""
        return "0x44"

    @on_worker
    def get_block_by_number(
        self, block: BlockNumber, full: bool | None = False
    ) -> dict[str, Any] | None:
        """A block, its transactions as hashes or, with ``full``, whole."""
        return self._shape(self._node.block(block), bool(full), pending=block == "pending")

    @on_worker
    def get_block_by_hash(self, block: Hash, full: bool | None = False) -> dict[str, Any] | None:
        """A block, its transactions as hashes or, with ``full``, whole."""
        return self._shape(self._node.chain.by_hash(to_bytes(block)), bool(full))

    @on_worker
    def get_header_by_number(self, block: BlockNumber) -> dict[str, Any] | None:
        """A block without its transactions."""
        mined = self._node.block(block)
        return shapes.header(mined) if mined else None

    @on_worker
    def get_header_by_hash(self, block: Hash) -> dict[str, Any] | None:
        """A block without its transactions."""
        mined = self._node.chain.by_hash(to_bytes(block))
        return shapes.header(mined) if mined else None

    @on_worker
    def get_block_transaction_count_by_number(self, block: BlockNumber) -> str | None:
        """How many transactions a block has."""
        return _count(self._node.block(block))

    @on_worker
    def get_block_transaction_count_by_hash(self, block: Hash) -> str | None:
        """How many transactions a block has."""
        return _count(self._node.chain.by_hash(to_bytes(block)))

    @on_worker
    def get_uncle_count_by_block_number(self, block: BlockNumber) -> str | None:
        """0 for every block there is: uncles ended with proof of work."""
        return "0x0" if self._node.block(block) else None

    @on_worker
    def get_uncle_count_by_block_hash(self, block: Hash) -> str | None:
        """0 for every block there is."""
        return "0x0" if self._node.chain.by_hash(to_bytes(block)) else None

    def get_uncle_by_block_number_and_index(self, block: BlockNumber, index: Index) -> None:
        """Null: there are no uncles."""

    def get_uncle_by_block_hash_and_index(self, block: Hash, index: Index) -> None:
        """Null: there are no uncles."""

    @on_worker
    def get_block_receipts(self, block: BlockId) -> list[dict[str, Any]] | None:
        """The receipts of a block's transactions, in order."""
        mined = self._node.block(block)
        return shapes.receipts(mined) if mined else None

    @on_worker
    def get_transaction_by_block_number_and_index(
        self, block: BlockNumber, index: Index
    ) -> dict[str, Any] | None:
        """A transaction by its place."""
        return _nth(self._node.block(block), index)

    @on_worker
    def get_transaction_by_block_hash_and_index(
        self, block: Hash, index: Index
    ) -> dict[str, Any] | None:
        """A transaction by its place."""
        return _nth(self._node.chain.by_hash(to_bytes(block)), index)

    @on_worker
    def get_transaction_by_hash(self, transaction: Hash) -> dict[str, Any] | None:
        """A transaction, in a block or waiting for one."""
        wanted = to_bytes(transaction)
        if found := self._node.chain.transaction(wanted):
            mined, index = found
            return shapes.transaction(mined.block.transactions[index], mined, index)
        pending = self._node.pool.get(wanted)
        return shapes.transaction(pending) if pending else None

    @on_worker
    def get_raw_transaction_by_hash(self, transaction: Hash) -> str:
        """A transaction's bytes, in a block or waiting; "0x" where there is none."""
        wanted = to_bytes(transaction)
        if found := self._node.chain.transaction(wanted):
            mined, index = found
            return f"0x{mined.block.transactions[index].encode().hex()}"
        pending = self._node.pool.get(wanted)
        return f"0x{pending.encode().hex()}" if pending else "0x"

    @on_worker
    def get_transaction_receipt(self, transaction: Hash) -> dict[str, Any] | None:
        """What came of a transaction; null while it is not in a block."""
        found = self._node.chain.transaction(to_bytes(transaction))
        return shapes.receipt(*found) if found else None

    def _shape(
        self, mined: MinedBlock | None, full: bool, *, pending: bool = False
    ) -> dict[str, Any] | None:
        if mined is None:
            return None
        return shapes.block(mined, len(encode(mined.block)), full=full, pending=pending)


def _count(mined: MinedBlock | None) -> str | None:
    return quantity(len(mined.block.transactions)) if mined else None


def _nth(mined: MinedBlock | None, index: Index) -> dict[str, Any] | None:
    if mined is None:
        return None
    at = to_int(index)
    if at >= len(mined.block.transactions):
        return None
    return shapes.transaction(mined.block.transactions[at], mined, at)

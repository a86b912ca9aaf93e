"""The namespace eth, first part: look-ups of the node, blocks, transactions and receipts."""

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
from npipe.rpc.service.decorators import method

__all__ = ["EthBlocks"]


class EthBlocks:
    """Blocks by number, tag or hash. The result is null if there is no such block."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @method(inline=True)
    def chain_id(self) -> str:
        """Return the chain id (EIP-155), in hex.

        Source: execution-apis.
        """
        return quantity(self._node.chain.chain_id)

    @method(inline=True)
    def block_number(self) -> str:
        """Return the number of the newest block, in hex.

        Source: execution-apis.
        """
        return quantity(self._node.head.number)

    @method(inline=True)
    def syncing(self) -> bool:
        """Return false: the node has no peers to synchronise with.

        Source: execution-apis.
        """
        return False

    @method(inline=True)
    def accounts(self) -> list[str]:
        """Return the addresses of the accounts whose keys the node has.

        Source: execution-apis.
        """
        return [f"0x{address.hex()}" for address in self._node.accounts]

    @method(inline=True)
    def coinbase(self) -> str:
        """Return the address that receives the priority fees of the blocks made by this node.

        Source: execution-apis.
        """
        return f"0x{self._node.chain.coinbase.hex()}"

    @method(inline=True)
    def mining(self) -> bool:
        """Return true: this node makes blocks.

        Source: ethereum.org, page JSON-RPC API.
        """
        return True

    @method(inline=True)
    def hashrate(self) -> str:
        """Return 0x0: blocks need no computation.

        Source: ethereum.org, page JSON-RPC API.
        """
        return "0x0"

    @method(inline=True)
    def protocol_version(self) -> str:
        """Return the version of the wire protocol, in decimal: 68 (eth/68).

        Source: ethereum.org, page JSON-RPC API.
        """
        return "0x44"

    @on_worker
    def get_block_by_number(
        self, block: BlockNumber, full: bool | None = False
    ) -> dict[str, Any] | None:
        """Return a block, or null; its transactions as hashes or, with ``full``, as objects.

        Numbers are in hex, amounts in wei. Source: execution-apis.
        """
        return self._shape(self._node.block(block), bool(full), pending=block == "pending")

    @on_worker
    def get_block_by_hash(self, block: Hash, full: bool | None = False) -> dict[str, Any] | None:
        """Return a block, or null; its transactions as hashes or, with ``full``, as objects.

        Numbers are in hex, amounts in wei. Source: execution-apis.
        """
        return self._shape(self._node.chain.by_hash(to_bytes(block)), bool(full))

    @on_worker
    def get_header_by_number(self, block: BlockNumber) -> dict[str, Any] | None:
        """Return the header of a block, or null.

        Numbers are in hex, amounts in wei. Source: geth's documentation, namespace eth.
        """
        mined = self._node.block(block)
        return shapes.header(mined) if mined else None

    @on_worker
    def get_header_by_hash(self, block: Hash) -> dict[str, Any] | None:
        """Return the header of a block, or null.

        Numbers are in hex, amounts in wei. Source: geth's documentation, namespace eth.
        """
        mined = self._node.chain.by_hash(to_bytes(block))
        return shapes.header(mined) if mined else None

    @on_worker
    def get_block_transaction_count_by_number(self, block: BlockNumber) -> str | None:
        """Return the number of transactions of a block, in hex, or null.

        Source: execution-apis.
        """
        return _count(self._node.block(block))

    @on_worker
    def get_block_transaction_count_by_hash(self, block: Hash) -> str | None:
        """Return the number of transactions of a block, in hex, or null.

        Source: execution-apis.
        """
        return _count(self._node.chain.by_hash(to_bytes(block)))

    @on_worker
    def get_uncle_count_by_block_number(self, block: BlockNumber) -> str | None:
        """Return the number of uncles of a block, in hex, or null; it is 0x0 since the merge.

        Source: execution-apis.
        """
        return "0x0" if self._node.block(block) else None

    @on_worker
    def get_uncle_count_by_block_hash(self, block: Hash) -> str | None:
        """Return the number of uncles of a block, in hex, or null; it is 0x0 since the merge.

        Source: execution-apis.
        """
        return "0x0" if self._node.chain.by_hash(to_bytes(block)) else None

    def get_uncle_by_block_number_and_index(self, block: BlockNumber, index: Index) -> None:
        """Return null: there are no uncles since the merge.

        Source: ethereum.org, page JSON-RPC API.
        """

    def get_uncle_by_block_hash_and_index(self, block: Hash, index: Index) -> None:
        """Return null: there are no uncles since the merge.

        Source: ethereum.org, page JSON-RPC API.
        """

    @on_worker
    def get_block_receipts(self, block: BlockId) -> list[dict[str, Any]] | None:
        """Return the receipts of the transactions of a block, in order, or null.

        Numbers are in hex, amounts in wei. Source: execution-apis.
        """
        mined = self._node.block(block)
        return shapes.receipts(mined) if mined else None

    @on_worker
    def get_transaction_by_block_number_and_index(
        self, block: BlockNumber, index: Index
    ) -> dict[str, Any] | None:
        """Return a transaction by its index in a block, or null.

        Numbers are in hex, amounts in wei. Source: execution-apis.
        """
        return _nth(self._node.block(block), index)

    @on_worker
    def get_transaction_by_block_hash_and_index(
        self, block: Hash, index: Index
    ) -> dict[str, Any] | None:
        """Return a transaction by its index in a block, or null.

        Numbers are in hex, amounts in wei. Source: execution-apis.
        """
        return _nth(self._node.chain.by_hash(to_bytes(block)), index)

    @on_worker
    def get_transaction_by_hash(self, transaction: Hash) -> dict[str, Any] | None:
        """Return a transaction by its hash, mined or pending, or null.

        Numbers are in hex, amounts in wei. Source: execution-apis.
        """
        wanted = to_bytes(transaction)
        if found := self._node.chain.transaction(wanted):
            mined, index = found
            return shapes.transaction(mined.block.transactions[index], mined, index)
        pending = self._node.pool.get(wanted)
        return shapes.transaction(pending) if pending else None

    @on_worker
    def get_raw_transaction_by_hash(self, transaction: Hash) -> str:
        """Return the bytes of a mined or pending transaction, in hex; "0x" if there is none.

        Source: geth's documentation, namespace eth.
        """
        wanted = to_bytes(transaction)
        if found := self._node.chain.transaction(wanted):
            mined, index = found
            return f"0x{mined.block.transactions[index].encode().hex()}"
        pending = self._node.pool.get(wanted)
        return f"0x{pending.encode().hex()}" if pending else "0x"

    @on_worker
    def get_transaction_receipt(self, transaction: Hash) -> dict[str, Any] | None:
        """Return the receipt of a transaction, or null while it is not in a block.

        Numbers are in hex, amounts in wei. Source: execution-apis.
        """
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

"""The namespace debug: blocks, receipts and transactions in RLP, and traces of their execution."""

from __future__ import annotations

from typing import Any

from rlp import encode

from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.errors import ChainError
from npipe.ethereum.node.node import Node
from npipe.ethereum.node.worker import Trial, on_worker
from npipe.ethereum.tracing.replay import trace_block, trace_transaction
from npipe.ethereum.values.overrides import Overrides
from npipe.ethereum.values.trace_options import TraceCallConfig, TraceConfig
from npipe.ethereum.values.types import (
    BlockHash,
    BlockId,
    BlockNumber,
    Hash,
    TransactionRequest,
    data,
    to_bytes,
    to_int,
)

__all__ = ["Debug"]


class Debug:
    """Raw data, and traces by instruction or by tracer."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker
    def get_raw_block(self, block: BlockId) -> str:
        """Return a block, RLP-encoded, in hex.

        Source: execution-apis.
        """
        return data(encode(self._block(block).block))

    @on_worker
    def get_raw_header(self, block: BlockId) -> str:
        """Return the header of a block, RLP-encoded, in hex. Its Keccak-256 is the block's hash.

        Source: execution-apis.
        """
        return data(encode(self._block(block).header))

    @on_worker
    def get_raw_receipts(self, block: BlockId) -> list[str]:
        """Return the receipts of a block, each as it is encoded in the receipts trie, in hex.

        Source: execution-apis.
        """
        return [data(receipt.encode()) for receipt in self._block(block).receipts]

    @on_worker
    def get_raw_transaction(self, transaction: Hash) -> str:
        """Return the bytes of a mined or pending transaction, in hex; "0x" if there is none.

        Source: execution-apis.
        """
        wanted = to_bytes(transaction)
        if found := self._node.chain.transaction(wanted):
            mined, index = found
            return data(mined.block.transactions[index].encode())
        pending = self._node.pool.get(wanted)
        return data(pending.encode()) if pending else "0x"

    def get_bad_blocks(self) -> list[Any]:
        """Return the invalid blocks that were received: always an empty list.

        Source: execution-apis.
        """
        return []

    @on_worker
    def trace_transaction(self, transaction: Hash, config: TraceConfig | None = None) -> Trial[Any]:
        """Execute a mined transaction again and return its trace.

        ``config`` selects the tracer. Gas is a decimal number in the trace of instructions, and in
        hex in that of calls.
        Source: geth's documentation, namespace debug.
        """
        found = self._node.chain.transaction(to_bytes(transaction))
        if found is None:
            raise ChainError("transaction not found")
        return trace_transaction(self._node.chain, *found, config or TraceConfig())

    @on_worker
    def trace_block_by_number(
        self, block: BlockNumber, config: TraceConfig | None = None
    ) -> Trial[list[dict[str, Any]]]:
        """Execute the transactions of a block again and return a trace of each.

        The form of a trace is that of debug_traceTransaction.
        Source: geth's documentation, namespace debug.
        """
        return trace_block(self._node.chain, self._block(block), config or TraceConfig())

    @on_worker
    def trace_block_by_hash(
        self, block: Hash, config: TraceConfig | None = None
    ) -> Trial[list[dict[str, Any]]]:
        """Execute the transactions of a block again and return a trace of each.

        The form of a trace is that of debug_traceTransaction.
        Source: geth's documentation, namespace debug.
        """
        mined = self._node.chain.by_hash(to_bytes(block))
        if mined is None:
            raise ChainError(f"block {block} not found")
        return trace_block(self._node.chain, mined, config or TraceConfig())

    @on_worker
    def trace_call(
        self,
        transaction: TransactionRequest | None,
        block: BlockId = "latest",
        config: TraceCallConfig | None = None,
    ) -> Trial[Any]:
        """Execute a call on the state of a block and return its trace.

        The form of a trace is that of debug_traceTransaction.
        Source: geth's documentation, namespace debug.
        """
        config = config or TraceCallConfig()
        pretended = Overrides(config.state_overrides, config.block_overrides)
        return self._node.calls.trace(transaction or TransactionRequest(), block, pretended, config)

    def _block(self, wanted: BlockId) -> MinedBlock:
        mined = self._node.block(wanted)
        if mined is None:
            raise ChainError(f"block #{_name(wanted)} not found")
        return mined


def _name(wanted: Any) -> str | int:
    """Return the name of a block in geth's messages: its number, in decimal."""
    if isinstance(wanted, BlockHash):
        wanted = wanted.block_hash or wanted.block_number or ""
    return to_int(wanted) if str(wanted)[:2] == "0x" and len(str(wanted)) < 66 else wanted

"""A block with its receipts, as the chain stores it in memory and in the state file."""

from __future__ import annotations

from dataclasses import dataclass

from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI
from rlp import decode, encode

from npipe.ethereum.chain.state_file import SavedBlock
from npipe.ethereum.evm.blobs import PRAGUE, BlobSchedule
from npipe.ethereum.evm.forks import Forks
from npipe.ethereum.evm.impersonation import recognized

__all__ = ["MinedBlock", "decoded", "restored"]


@dataclass(frozen=True, slots=True, eq=False)
class MinedBlock:
    """A block on the chain, with its receipts and the contracts that it created."""

    block: BlockAPI
    receipts: tuple[ReceiptAPI, ...]
    created: tuple[bytes | None, ...]  # for each transaction, the address of its new contract
    blobs: BlobSchedule = PRAGUE  # determines the blob base fee

    @property
    def header(self) -> BlockHeaderAPI:
        return self.block.header

    @property
    def number(self) -> int:
        return self.block.number

    @property
    def hash(self) -> bytes:
        return self.block.hash

    def gas_used(self, index: int) -> int:
        """Return the gas used by one transaction. Receipts have the sum up to and including it."""
        before = self.receipts[index - 1].gas_used if index else 0
        return int(self.receipts[index].gas_used - before)

    def saved(self) -> SavedBlock:
        """Return the block in the form of the state file."""
        receipts = [receipt.encode() for receipt in self.receipts]
        return SavedBlock(encode(self.block), receipts, list(self.created))


def decoded(octets: bytes, forks: Forks) -> BlockAPI:
    """Decode a block from RLP. Raises ValueError, or an error of rlp or py-evm."""
    header = decode(octets)[0]
    number, timestamp = (int.from_bytes(header[at], "big") for at in (8, 11))
    block: BlockAPI = decode(octets, forks.at(number, timestamp).machine.get_block_class())
    return block


def restored(saved: SavedBlock, forks: Forks) -> MinedBlock:
    """Restore a block from the state file. Raises ValueError, or an error of rlp or py-evm."""
    block = decoded(saved.block, forks)
    builder = forks.of_header(block.header).machine.get_receipt_builder()
    receipts = tuple(builder.decode(receipt) for receipt in saved.receipts)
    if not len(receipts) == len(saved.created) == len(block.transactions):
        raise ValueError(f"block {block.number} does not have a receipt for each transaction")
    if block.transactions:  # a copy takes half as long as the decoding
        block = block.copy(transactions=tuple(map(recognized, block.transactions)))
    blobs = forks.of_header(block.header).blobs or PRAGUE
    return MinedBlock(block, receipts, tuple(saved.created), blobs)

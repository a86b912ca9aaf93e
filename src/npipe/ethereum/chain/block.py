"""A block as the chain keeps it, and how it is saved."""

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
    """A block that is on the chain, with its receipts and the contracts it created."""

    block: BlockAPI
    receipts: tuple[ReceiptAPI, ...]
    created: tuple[bytes | None, ...]  # for each transaction, the address of its new contract
    blobs: BlobSchedule = PRAGUE  # what the price of its blobs follows

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
        """What one transaction used: receipts hold the sum up to and with it."""
        before = self.receipts[index - 1].gas_used if index else 0
        return int(self.receipts[index].gas_used - before)

    def saved(self) -> SavedBlock:
        """As it goes to a file."""
        receipts = [receipt.encode() for receipt in self.receipts]
        return SavedBlock(encode(self.block), receipts, list(self.created))


def decoded(octets: bytes, forks: Forks) -> BlockAPI:
    """A block from its RLP encoding. Raises what rlp and py-evm raise, or ValueError."""
    header = decode(octets)[0]
    number, timestamp = (int.from_bytes(header[at], "big") for at in (8, 11))
    block: BlockAPI = decode(octets, forks.at(number, timestamp).machine.get_block_class())
    return block


def restored(saved: SavedBlock, forks: Forks) -> MinedBlock:
    """A block as it comes from a file. Raises what rlp and py-evm raise, or ValueError."""
    block = decoded(saved.block, forks)
    builder = forks.of_header(block.header).machine.get_receipt_builder()
    receipts = tuple(builder.decode(receipt) for receipt in saved.receipts)
    if not len(receipts) == len(saved.created) == len(block.transactions):
        raise ValueError(f"block {block.number} has not a receipt for each transaction")
    block = block.copy(transactions=tuple(map(recognized, block.transactions)))
    blobs = forks.of_header(block.header).blobs or PRAGUE
    return MinedBlock(block, receipts, tuple(saved.created), blobs)

"""A block as the chain keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI

__all__ = ["Mined"]


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """A block that is on the chain, with its receipts and the contracts it created."""

    block: BlockAPI
    receipts: tuple[ReceiptAPI, ...]
    created: tuple[bytes | None, ...]  # for each transaction, the address of its new contract

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

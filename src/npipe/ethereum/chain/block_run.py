"""One block while its transactions are run."""

from __future__ import annotations

from typing import Any

from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI
from eth.constants import BLANK_ROOT_HASH, EMPTY_UNCLE_HASH
from eth_utils import ValidationError

from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.evm.blobs import PRAGUE, BlobSchedule, gas_of

__all__ = ["BlockRun", "begun"]


def begun(header: BlockHeaderAPI, state_root: bytes) -> BlockHeaderAPI:
    """A block's header as it was before the first transaction, upon a state."""
    fields: dict[str, Any] = {
        "state_root": state_root,
        "transaction_root": BLANK_ROOT_HASH,
        "receipt_root": BLANK_ROOT_HASH,
        "uncles_hash": EMPTY_UNCLE_HASH,
        "gas_used": 0,
        "bloom": 0,
    }
    if hasattr(header, "withdrawals_root"):
        fields["withdrawals_root"] = BLANK_ROOT_HASH
    if hasattr(header, "blob_gas_used"):
        fields["blob_gas_used"] = 0
    return header.copy(**fields)


class BlockRun:
    """A machine on the state before a block, what has been run on it, and then the block."""

    def __init__(self, vm: Any, blobs: BlobSchedule | None) -> None:
        """``vm`` begins with the block's header; ``blobs`` limits the blobs of the fork."""
        self._vm, self._blobs = vm, blobs
        self._header = vm.get_header()
        self._transactions: list[SignedTransactionAPI] = []
        self._receipts: list[ReceiptAPI] = []
        self._created: list[bytes | None] = []
        self.reason: str = ""  # why the last transaction was not taken
        vm.block_preprocessing(vm.get_block())

    def add(self, transaction: SignedTransactionAPI) -> bool:
        """Run a transaction; False where the block cannot take it, which changes nothing."""
        vm = self._vm
        if blob_gas := gas_of(transaction):
            most = self._blobs.max_gas if self._blobs else 0
            if self._header.blob_gas_used + blob_gas > most:
                self.reason = "too many blobs"
                return False
        try:
            receipt, computation = vm.apply_transaction(self._header, transaction)
        except ValidationError as error:
            self.reason = str(error)
            return False
        self._header = vm.add_receipt_to_header(self._header, receipt)
        if blob_gas:
            self._header = vm.increment_blob_gas_used(self._header, transaction)
        self._transactions.append(transaction)
        self._receipts.append(receipt)
        message = computation.msg
        self._created.append(message.storage_address if message.is_create else None)
        return True

    def seal(self, given: BlockAPI | None = None) -> MinedBlock:
        """End the block: withdrawals, requests, rewards, roots. ``given`` has uncles, and those."""
        vm = self._vm
        withdrawals = tuple(getattr(given, "withdrawals", ()))
        if withdrawals:
            vm.apply_all_withdrawals(withdrawals)
        base = vm.get_block()
        if given is not None and given.uncles:
            base = base.copy(uncles=given.uncles)
            self._header = self._header.copy(uncles_hash=given.header.uncles_hash)
        block = vm.set_block_transactions_and_withdrawals(
            base, self._header, tuple(self._transactions), tuple(self._receipts), withdrawals
        )
        block = vm.finalize_block(vm.block_postprocessing(block)).block
        blobs = self._blobs or PRAGUE
        return MinedBlock(block, tuple(self._receipts), tuple(self._created), blobs)

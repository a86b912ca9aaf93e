"""One block while its transactions are executed."""

from __future__ import annotations

from typing import Any

from eth.abc import BlockAPI, BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI
from eth.constants import BLANK_ROOT_HASH, EMPTY_UNCLE_HASH
from eth_utils import ValidationError

from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.evm.blobs import PRAGUE, BlobSchedule, gas_of

__all__ = ["BlockRun", "begun"]


def begun(header: BlockHeaderAPI, state_root: bytes) -> BlockHeaderAPI:
    """Return the header of a block as it was before its first transaction, with a state root."""
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
    """The execution of one block: a machine on the parent state, then the sealed block."""

    def __init__(self, vm: Any, blobs: BlobSchedule | None) -> None:
        """Begin with ``vm``, which has the header of the block.

        ``blobs`` is the blob schedule of the fork.
        """
        self._vm, self._blobs = vm, blobs
        self._header = vm.get_header()
        self._transactions: list[SignedTransactionAPI] = []
        self._receipts: list[ReceiptAPI] = []
        self._created: list[bytes | None] = []
        self.reason: str = ""  # for which the last transaction was rejected
        vm.block_preprocessing(vm.get_block())

    def add(self, transaction: SignedTransactionAPI) -> bool:
        """Execute a transaction.

        Return False, with nothing changed, if it does not fit into the block.
        """
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
        """Complete the block: withdrawals, requests, rewards, roots.

        ``given`` is an imported block.
        """
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

"""The state that code runs on: the time limit of a call (5 s for eth_call), and its overrides.

Opening a state writes nothing, because every call opens a state.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any

from npipe.ethereum.errors import ChainError, Stopped
from npipe.ethereum.evm import gas
from npipe.ethereum.evm.blobs import PRAGUE, BlobSchedule

__all__ = ["TIMEOUT", "OpenState"]

TIMEOUT = 5.0  # seconds that a call such as ``eth_call`` may run, as in geth; mining has no limit


class OpenState:
    """The state after a block, mixed into a fork's state.

    ``deadline`` is the deadline of code that runs on it, a value of time.monotonic(). ``stopping``,
    once set, interrupts that code too. ``ancestor_base`` is the number of the block whose ancestors
    are known, if an override changes the number that instructions see.
    """

    deadline: float = math.inf
    late: str = (
        f"execution aborted (timeout = {TIMEOUT:g}s)"  # the message of the error past the deadline
    )
    stopping: threading.Event | None = None
    pretended_blob_base_fee: int | None = None
    ancestor_base: int | None = None
    blob_schedule: BlobSchedule = PRAGUE
    rules: gas.Rules
    execution_context: Any
    precompiles: Mapping[bytes, Any]

    def tick(self) -> None:
        """Raise ChainError past the deadline, Stopped once the chain is stopping."""
        if self.stopping is not None and self.stopping.is_set():
            raise Stopped
        if time.monotonic() > self.deadline:
            raise ChainError(self.late)

    @property
    def blob_base_fee(self) -> int:
        """Return the price of a unit of blob gas, in wei, or its override."""
        if self.pretended_blob_base_fee is not None:
            return self.pretended_blob_base_fee
        return self.blob_schedule.base_fee(self.execution_context.excess_blob_gas)

    def get_ancestor_hash(self, block_number: int) -> bytes:
        """Return the hash of one of the last 256 blocks before the visible number, or b""."""
        context = self.execution_context
        known = context.block_number if self.ancestor_base is None else self.ancestor_base
        if not max(0, context.block_number - 256) <= block_number < context.block_number:
            return b""
        for depth, found in enumerate(context.prev_hashes, 1):
            if known - depth == block_number:
                return bytes(found)
        return b""

    def increment_nonce(self, address: bytes) -> None:
        """Increment a nonce; after 2**64 - 1 comes 0, as in geth."""
        state: Any = self
        state.set_nonce(address, (state.get_nonce(address) + 1) % 2**64)

    def delta_balance(self, address: bytes, delta: int) -> None:
        """Change a balance; a sum of overrides above 256 bits wraps."""
        state: Any = self
        balance = state.get_balance(address) + delta
        state.set_balance(address, balance if balance < 0 else balance % 2**256)

    def set_system_contracts(self) -> None:
        """Do nothing: py-evm would write them each time a state is opened."""

    # -- overrides of a call ---------------------------------------------------------------------

    def pretend_block(
        self,
        *,
        number: int | None = None,
        timestamp: int | None = None,
        gas_limit: int | None = None,
        base_fee: int | None = None,
        coinbase: bytes | None = None,
        mix_hash: bytes | None = None,
        blob_base_fee: int | None = None,
    ) -> None:
        """Override the values that the block instructions return."""
        context = self.execution_context  # py-evm has no public setter
        if number is not None:
            self.ancestor_base = context.block_number
        for name, value in (
            ("_block_number", number),
            ("_timestamp", timestamp),
            ("_gas_limit", gas_limit),
            ("_base_fee_per_gas", base_fee),
            ("_coinbase", coinbase),
            ("_mix_hash", mix_hash),
        ):
            if value is not None:
                setattr(context, name, value)
        if blob_base_fee is not None:
            self.pretended_blob_base_fee = blob_base_fee

    def replace_precompile(self, address: bytes, target: bytes | None = None) -> None:
        """Move a precompile to another address, or (None) remove it.

        Raises KeyError if there is none at ``address``.
        """
        moved = dict(self.precompiles)
        precompile = moved.pop(address)
        if target is not None:
            moved[target] = precompile
        self.precompiles = moved

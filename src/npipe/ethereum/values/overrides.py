"""What a call pretends: of accounts, and of the block that it runs in.

Imports no py-evm: the states that are changed here come from the chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from npipe.ethereum.errors import ChainError
from npipe.ethereum.values.types import Address, Data, Hash, Quantity, Uint64, to_bytes, to_int

if TYPE_CHECKING:
    from npipe.ethereum.evm.machine import State

__all__ = ["BlockOverrides", "Overrides", "StateOverride"]


class StateOverride(msgspec.Struct, rename="camel"):
    """What is pretended of one account: the fields given replace the account's own."""

    balance: Quantity | None = None
    nonce: Uint64 | None = None
    code: Data | None = None
    state: dict[Hash, Hash] | None = None
    state_diff: dict[Hash, Hash] | None = None
    move_precompile_to_address: Address | None = None


class BlockOverrides(msgspec.Struct, rename="camel"):
    """What is pretended of the block: the fields given replace the block's own."""

    number: Quantity | None = None
    time: Uint64 | None = None
    gas_limit: Uint64 | None = None
    fee_recipient: Address | None = None
    prev_randao: Hash | None = None
    base_fee_per_gas: Quantity | None = None
    blob_base_fee: Quantity | None = None
    difficulty: Quantity | None = None
    beacon_root: Hash | None = None
    withdrawals: list[Any] | None = None


class Overrides(msgspec.Struct, frozen=True):
    """Both, for one call."""

    accounts: Mapping[str, StateOverride] | None = None
    block: BlockOverrides | None = None

    def apply(self, state: State) -> None:
        """Change a state that is to be tried on. Raises ChainError for what cannot be pretended."""
        if self.block is not None:
            _apply_to_block(state, self.block)
        for address, override in (self.accounts or {}).items():
            _apply_to_account(state, address, override)


def _apply_to_block(state: State, block: BlockOverrides) -> None:
    """Change what the instructions that ask about the block will see."""
    for name in ("beacon_root", "withdrawals"):
        if getattr(block, name) is not None:
            told = "beaconRoot" if name == "beacon_root" else name
            raise ChainError(f'block override "{told}" is not supported for this RPC method')
    context: Any = state.execution_context  # py-evm has no other way in
    for name, value in (
        ("_block_number", block.number),
        ("_timestamp", block.time),
        ("_gas_limit", block.gas_limit),
        ("_base_fee_per_gas", block.base_fee_per_gas),
    ):
        if value is not None:
            setattr(context, name, to_int(value))
    if block.fee_recipient is not None:
        context._coinbase = to_bytes(block.fee_recipient)
    if block.prev_randao is not None:
        context._mix_hash = to_bytes(block.prev_randao)
    if block.blob_base_fee is not None:
        state.pretended_blob_base_fee = to_int(block.blob_base_fee)


def _apply_to_account(state: State, name: str, override: StateOverride) -> None:
    address = to_bytes(name)
    if override.state is not None and override.state_diff is not None:
        raise ChainError(f"account {name} has both 'state' and 'stateDiff'")
    if override.move_precompile_to_address is not None:
        raise ChainError("movePrecompileToAddress: the precompiles of this node cannot be moved")
    if override.nonce is not None:
        state.set_nonce(address, to_int(override.nonce))
    if override.code is not None:
        state.set_code(address, to_bytes(override.code))
    if override.balance is not None:
        state.set_balance(address, to_int(override.balance))
    if override.state is not None:
        state.delete_storage(address)
    for slot, value in (override.state or override.state_diff or {}).items():
        state.set_storage(address, to_int(slot), to_int(value))

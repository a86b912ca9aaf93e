"""Applies the overrides of a call (``values.overrides``) to the state on which it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from npipe.ethereum.errors import ChainError
from npipe.ethereum.evm.addresses import checksum
from npipe.ethereum.values.overrides import BlockOverrides, Overrides, StateOverride
from npipe.ethereum.values.types import to_bytes, to_int

__all__ = ["pretend", "pretend_accounts"]

_UNSUPPORTED = {"beacon_root": "beaconRoot", "withdrawals": "withdrawals"}


def pretend(state: Any, overrides: Overrides) -> None:
    """Apply overrides to the state of a trial. Raises ChainError if one is not possible."""
    if overrides.block is not None:
        _pretend_block(state, overrides.block)
    pretend_accounts(state, overrides.accounts or {})


def _pretend_block(state: Any, block: BlockOverrides) -> None:
    """Apply overrides to the values that the block instructions return."""
    for name, spelled in _UNSUPPORTED.items():
        if getattr(block, name) is not None:
            raise ChainError(f'block override "{spelled}" is not supported for this RPC method')
    state.pretend_block(
        number=_int(block.number),
        timestamp=_int(block.time),
        gas_limit=_int(block.gas_limit),
        base_fee=_int(block.base_fee_per_gas),
        coinbase=_bytes(block.fee_recipient),
        mix_hash=_bytes(block.prev_randao),
        blob_base_fee=_int(block.blob_base_fee),
    )


def pretend_accounts(state: Any, accounts: Mapping[str, StateOverride]) -> None:
    """Apply overrides to accounts. An overridden precompile is disabled at its address, as in geth.

    Raises ChainError for contradictory overrides, or the move of an address that is no precompile.
    """
    overridden = {to_bytes(name) for name in accounts}
    moved: set[bytes] = set()
    for name, override in accounts.items():
        address, target = to_bytes(name), _bytes(override.move_precompile_to_address)
        if override.state is not None and override.state_diff is not None:
            raise ChainError(f"account {checksum(address)} has both 'state' and 'stateDiff'")
        if target is not None and address not in state.precompiles:
            raise ChainError(f"account {checksum(address)} is not a precompile")
        if target is not None and target in overridden:
            raise ChainError(f"account {checksum(target)} is already overridden")
        if address in state.precompiles and address not in moved:
            state.replace_precompile(address, target)
        moved |= {target} if target is not None else set()
        _pretend_account(state, address, override)


def _pretend_account(state: Any, address: bytes, override: StateOverride) -> None:
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


def _int(value: str | int | None) -> int | None:
    return None if value is None else to_int(value)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else to_bytes(text)

"""State and block overrides in a request, as JSON. ``chain.pretend`` applies them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from npipe.ethereum.values.types import Address, Data, Hash, Quantity, Uint64

__all__ = ["BlockOverrides", "Overrides", "StateOverride", "WithdrawalRequest"]


class StateOverride(msgspec.Struct, rename="camel"):
    """The overrides of one account. A given field replaces the account's own."""

    balance: Quantity | None = None
    nonce: Uint64 | None = None
    code: Data | None = None
    state: dict[Hash, Hash] | None = None
    state_diff: dict[Hash, Hash] | None = None
    move_precompile_to_address: Address | None = None


class WithdrawalRequest(msgspec.Struct, rename="camel"):
    """A withdrawal from the beacon chain (EIP-4895); ``amount`` is in gwei."""

    index: Uint64
    validator_index: Uint64
    address: Address
    amount: Uint64


class BlockOverrides(msgspec.Struct, rename="camel"):
    """The overrides of the block. A given field replaces the block's own."""

    number: Quantity | None = None
    time: Uint64 | None = None
    gas_limit: Uint64 | None = None
    fee_recipient: Address | None = None
    prev_randao: Hash | None = None
    base_fee_per_gas: Quantity | None = None
    blob_base_fee: Quantity | None = None
    difficulty: Quantity | None = None
    beacon_root: Hash | None = None
    withdrawals: list[WithdrawalRequest] | None = None


class Overrides(msgspec.Struct, frozen=True):
    """The state and block overrides of one call."""

    accounts: Mapping[str, StateOverride] | None = None
    block: BlockOverrides | None = None

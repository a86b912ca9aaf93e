"""What a call pretends: of accounts, and of the block that it runs in. Imports no py-evm."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from npipe.ethereum.values.types import Address, Data, Hash, Quantity, Uint64

__all__ = ["BlockOverrides", "Overrides", "StateOverride", "WithdrawalRequest"]


class StateOverride(msgspec.Struct, rename="camel"):
    """What is pretended of one account: the fields given replace the account's own."""

    balance: Quantity | None = None
    nonce: Uint64 | None = None
    code: Data | None = None
    state: dict[Hash, Hash] | None = None
    state_diff: dict[Hash, Hash] | None = None
    move_precompile_to_address: Address | None = None


class WithdrawalRequest(msgspec.Struct, rename="camel"):
    """What the beacon chain gives back to an account (EIP-4895); ``amount`` in gwei."""

    index: Uint64
    validator_index: Uint64
    address: Address
    amount: Uint64


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
    withdrawals: list[WithdrawalRequest] | None = None


class Overrides(msgspec.Struct, frozen=True):
    """Both, for one call."""

    accounts: Mapping[str, StateOverride] | None = None
    block: BlockOverrides | None = None

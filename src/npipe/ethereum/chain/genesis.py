"""The first block: balances, code, and the system contracts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from eth.abc import BlockHeaderAPI

from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.evm import system_contracts
from npipe.ethereum.evm.machine import Machine

__all__ = ["EXTRA", "GAS_LIMIT", "MIN_GAS_LIMIT", "NO_ROOT", "GenesisAccount", "genesis", "made"]

GAS_LIMIT = 30_000_000
MIN_GAS_LIMIT = 5_000  # the smallest in a header
EXTRA = b"npipe"
NO_ROOT = bytes(32)  # the beacon root of a chain without a beacon chain (EIP-4788)


@dataclass(frozen=True, slots=True)
class GenesisAccount:
    """The balance, nonce, code and storage of an account in the first block."""

    balance: int = 0
    nonce: int = 0
    code: bytes = b""
    storage: Mapping[int, int] = field(default_factory=dict)


def genesis(
    state_at: Callable[[BlockHeaderAPI], Any], balances: Mapping[bytes, int], timestamp: int
) -> MinedBlock:
    """Make the first block of a development chain, with the rules of Prague.

    ``state_at`` opens the state of a header; the accounts are written to it.
    """
    header = Machine.create_genesis_header(
        difficulty=0,
        gas_limit=GAS_LIMIT,
        timestamp=timestamp,
        extra_data=EXTRA,
        parent_beacon_block_root=NO_ROOT,
    )
    accounts = {address: GenesisAccount(balance) for address, balance in balances.items()}
    for address, code in system_contracts.CODES.items():
        accounts[address] = GenesisAccount(balances.get(address, 0), nonce=1, code=code)
    return made(state_at, header, accounts, Machine)


def made(
    state_at: Callable[[BlockHeaderAPI], Any],
    header: BlockHeaderAPI,
    accounts: Mapping[bytes, GenesisAccount],
    machine: Any,
) -> MinedBlock:
    """Write the accounts, and make the block with the resulting state root."""
    state = state_at(header)
    for address, account in accounts.items():
        state.set_balance(address, account.balance)
        if account.nonce:
            state.set_nonce(address, account.nonce)
        if account.code:
            state.set_code(address, account.code)
        for slot, value in account.storage.items():
            state.set_storage(address, slot, value)
    state.persist()
    header = header.copy(state_root=state.state_root)
    kind = machine.get_block_class()
    withdrawals = ((),) if hasattr(header, "withdrawals_root") else ()
    return MinedBlock(kind(header, (), (), *withdrawals), (), ())

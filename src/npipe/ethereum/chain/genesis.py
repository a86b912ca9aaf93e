"""The first block: who has how much, and the contracts that blocks write to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eth.abc import BlockHeaderAPI
from eth.vm.forks.cancun.constants import BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CONTRACT_CODE
from eth.vm.forks.prague.constants import HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CONTRACT_CODE

from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.evm.machine import Machine, State

__all__ = ["EXTRA", "GAS_LIMIT", "MIN_GAS_LIMIT", "genesis"]

GAS_LIMIT = 30_000_000
MIN_GAS_LIMIT = 5_000  # that a header may have
EXTRA = b"npipe"


def genesis(
    state_at: Callable[[BlockHeaderAPI], State], balances: Mapping[bytes, int], timestamp: int
) -> MinedBlock:
    """Make it. ``state_at`` opens the state that a header names; it is written to."""
    header = Machine.create_genesis_header(
        difficulty=0, gas_limit=GAS_LIMIT, timestamp=timestamp, extra_data=EXTRA
    )
    state = state_at(header)
    for address, balance in balances.items():
        state.set_balance(address, balance)
    for address, code in (
        (BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CONTRACT_CODE),
        (HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CONTRACT_CODE),
    ):
        state.set_code(address, code)
        state.set_nonce(address, 1)
    state.persist()
    header = header.copy(state_root=state.state_root)
    return MinedBlock(Machine.get_block_class()(header, (), (), ()), (), ())

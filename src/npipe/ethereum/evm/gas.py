"""The minimum gas of a transaction: its intrinsic gas, and the floor for its data.

py-evm charges the initialisation code (EIP-3860) during the creation, so a transaction with too
little gas would fail in a block. In the protocol such a transaction, and its block, are invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth.vm.forks.london import LondonVM
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.shanghai import ShanghaiVM
from eth.vm.forks.shanghai.constants import INITCODE_WORD_COST, MAX_INITCODE_SIZE

__all__ = [
    "MAX_INITCODE",
    "TRANSFER_GAS",
    "Rules",
    "floor_gas",
    "intrinsic_gas",
    "minimum_gas",
    "rules_of",
]

TRANSFER_GAS = 21_000
MAX_INITCODE = MAX_INITCODE_SIZE  # bytes of initialisation code (EIP-3860)


@dataclass(frozen=True, slots=True)
class Rules:
    """The gas rules that a fork has."""

    initcode: bool = True  # EIP-3860, from Shanghai on
    floor: bool = True  # EIP-7623, from Prague on
    base_fee: bool = True  # EIP-1559, from London on


PRAGUE = Rules()


def rules_of(vm: type[Any]) -> Rules:
    """Return the rules of one of py-evm's forks."""
    return Rules(
        initcode=issubclass(vm, ShanghaiVM),
        floor=issubclass(vm, PragueVM),
        base_fee=issubclass(vm, LondonVM),
    )


def intrinsic_gas(transaction: Any, rules: Rules = PRAGUE) -> int:
    """Return the gas that is charged before the first instruction."""
    taken = int(transaction.intrinsic_gas)
    if rules.initcode and not transaction.to:
        taken += INITCODE_WORD_COST * ((len(transaction.data) + 31) // 32)
    return taken


def floor_gas(payload: bytes) -> int:
    """Return the minimum cost of a transaction with this call data (EIP-7623)."""
    zeros = payload.count(0)
    return TRANSFER_GAS + 10 * (zeros + 4 * (len(payload) - zeros))


def minimum_gas(transaction: Any, rules: Rules = PRAGUE) -> int:
    """Return the minimum gas limit of a transaction."""
    floor = floor_gas(transaction.data) if rules.floor else 0
    return max(intrinsic_gas(transaction, rules), floor)

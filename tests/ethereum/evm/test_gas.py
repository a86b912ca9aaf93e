"""The gas that a transaction must have before it runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from eth.vm.forks.berlin import BerlinVM
from eth.vm.forks.london import LondonVM
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.shanghai import ShanghaiVM

from npipe.ethereum.evm.gas import Rules, floor_gas, intrinsic_gas, minimum_gas, rules_of


def transaction(data: bytes, to: bytes = b"\1" * 20, intrinsic: int = 21_000) -> Any:
    return SimpleNamespace(data=data, to=to, intrinsic_gas=intrinsic)


def test_the_floor_is_10_for_a_zero_and_40_for_another_byte() -> None:
    assert floor_gas(b"") == 21_000
    assert floor_gas(b"\0\1\0") == 21_000 + 10 + 40 + 10


def test_code_that_creates_costs_2_for_each_word() -> None:
    assert intrinsic_gas(transaction(b"\1" * 33)) == 21_000
    assert intrinsic_gas(transaction(b"\1" * 33, to=b"")) == 21_004
    assert intrinsic_gas(transaction(b"\1" * 33, to=b""), Rules(initcode=False)) == 21_000


def test_the_larger_of_the_two_is_the_least() -> None:
    much = transaction(b"\1" * 1000, intrinsic=37_000)
    assert minimum_gas(much) == 61_000
    assert minimum_gas(much, Rules(floor=False)) == 37_000
    assert minimum_gas(transaction(b"", intrinsic=53_000)) == 53_000


def test_each_rule_begins_with_its_fork() -> None:
    assert rules_of(BerlinVM) == Rules(initcode=False, floor=False, base_fee=False)
    assert rules_of(LondonVM) == Rules(initcode=False, floor=False)
    assert rules_of(ShanghaiVM) == Rules(floor=False)
    assert rules_of(PragueVM) == Rules()

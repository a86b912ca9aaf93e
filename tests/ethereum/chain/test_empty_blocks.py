"""Empty blocks made directly: the same, to the last bit, as those of py-evm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from npipe.ethereum.chain.chain import Chain
from npipe.ethereum.chain.empty_blocks import EmptyBlocks
from npipe.ethereum.evm.system_contracts import ADDRESSES

ALICE = b"\xa1" * 20


def chain() -> Chain:
    """A chain with a clock that stands still: its blocks are a second apart."""
    return Chain({ALICE: 10**20}, clock=lambda: 1_700_000_000)


def same_blocks(one: Chain, other: Chain) -> bool:
    return [block.hash for block in one.blocks] == [block.hash for block in other.blocks]


def test_they_are_those_of_the_machine() -> None:
    direct, other = chain(), chain()
    for each in (direct, other):
        each.mine()
        each.coinbase, each.gas_limit = b"\xc0" * 20, 20_000_000
    assert EmptyBlocks.possible(direct)
    empty = EmptyBlocks(direct)
    for number in range(40):
        if number % 7 == 3:
            for each in (direct, other):
                each.set_next_timestamp(each.head.header.timestamp + 1000)
        assert empty.mine()
        other.mine()
    assert same_blocks(direct, other)
    # and they are built upon by the machine, which reads what they wrote
    assert direct.mine().hash == other.mine().hash
    assert not empty.mine()  # the head is not its own any more
    for address in ADDRESSES.values():
        for slot in (1_700_000_005 % 8191, 5, 8191 + 1_700_000_005 % 8191):
            ours, theirs = (each.state().get_storage(address, slot) for each in (direct, other))
            assert ours == theirs
    assert direct.state(direct.by_number(7).header).get_balance(ALICE) == 10**20  # type: ignore[union-attr]


def changes() -> dict[str, Callable[[Any], None]]:
    beacon, history = ADDRESSES["BEACON_ROOTS_ADDRESS"], ADDRESSES["HISTORY_STORAGE_ADDRESS"]
    queue = ADDRESSES["WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS"]
    return {
        "other code": lambda state: state.set_code(history, b"\x00"),
        "no code": lambda state: state.set_code(beacon, b""),
        "requests that wait": lambda state: state.set_storage(queue, 1, 1),
        "an excess": lambda state: state.set_storage(queue, 0, 5),
    }


@pytest.mark.parametrize("name", changes())
def test_a_state_that_was_altered_is_for_the_machine(name: str) -> None:
    direct = chain()
    direct.mine()
    direct.alter(changes()[name])
    assert not EmptyBlocks.possible(direct)


def test_a_root_in_the_ring_is_for_the_machine() -> None:
    direct, other = chain(), chain()
    for each in (direct, other):
        each.mine()
        time = each.head.header.timestamp + 1
        slot = time % 8191 + 8191
        each.alter(
            lambda state, slot=slot: state.set_storage(  # type: ignore[misc]
                ADDRESSES["BEACON_ROOTS_ADDRESS"], slot, 7
            )
        )
    empty = EmptyBlocks(direct)
    assert not empty.mine()
    assert direct.mine().hash == other.mine().hash


def test_what_the_next_block_is_to_have_is_for_the_machine() -> None:
    direct = chain()
    direct.mine()
    empty = EmptyBlocks(direct)
    direct.next.base_fee = 5
    assert not empty.mine()
    direct.next.base_fee = None
    assert empty.mine()


def test_the_first_block_and_one_with_transactions_are_no_model() -> None:
    assert not EmptyBlocks.possible(chain())

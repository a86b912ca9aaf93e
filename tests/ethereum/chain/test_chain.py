"""The chain: blocks by number, hash and transaction; going back; blocks made elsewhere."""

from __future__ import annotations

import pytest

from npipe.ethereum.errors import ChainError

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from npipe.ethereum.chain.chain import Chain
from npipe.ethereum.chain.events import EventBus

RICH = b"\1" * 20


@pytest.fixture
def chain() -> Chain:
    return Chain({RICH: 10**18}, clock=lambda: 1_000.0)


def test_a_block_is_found_until_it_is_cut_off(chain: Chain) -> None:
    told: list[str] = []
    chain.hub.add(lambda event: told.append(f"{type(event).__name__} {event.mined.number}"))
    snapshot = chain.snapshot("extra")
    blocks = [chain.mine(), chain.mine()]
    assert [chain.by_number(1), chain.by_hash(blocks[1].hash)] == blocks
    assert chain.head is blocks[1]
    assert chain.revert(snapshot) == (True, "extra")
    assert (chain.by_number(1), chain.by_hash(blocks[0].hash), chain.head.number) == (None, None, 0)
    assert told == ["NewBlock 1", "NewBlock 2", "RemovedBlock 2", "RemovedBlock 1"]
    assert chain.revert(snapshot) == (False, None)  # it was used up


def test_what_is_set_for_the_next_block_is_for_that_one_only(chain: Chain) -> None:
    chain.next.base_fee, chain.next.prev_randao = 800, b"\2" * 32
    first, second = chain.mine().header, chain.mine().header
    assert (first.base_fee_per_gas, first.mix_hash) == (800, b"\2" * 32)
    assert second.base_fee_per_gas == 700  # of an empty block's follower: an eighth less
    assert second.mix_hash != b"\2" * 32
    chain.set_gas_limit(5_000)
    assert chain.mine().header.gas_limit == 5_000
    with pytest.raises(ChainError, match="a gas limit of 4999"):
        chain.set_gas_limit(4_999)


def test_a_state_that_was_opened_stays_what_it_is(chain: Chain) -> None:
    open_state = chain.opener(chain.head.header)
    chain.alter(lambda state: state.set_balance(RICH, 1))
    chain.mine()
    assert open_state(0.0).get_balance(RICH) == 10**18
    assert chain.state().get_balance(RICH) == 1
    assert open_state(5.0).deadline == 5.0


def test_a_block_that_another_chain_made_is_executed_and_compared(chain: Chain) -> None:
    other = Chain({RICH: 10**18}, clock=lambda: 1_000.0)
    block = chain.mine().block
    assert other.add(block).hash == block.hash
    with pytest.raises(ValueError, match="block 1 does not follow 1"):
        other.add(block)
    wrong = chain.mine().block
    wrong = wrong.copy(header=wrong.header.copy(gas_used=1))
    with pytest.raises(ValueError, match="block 2 has another result when executed here: gas_used"):
        other.add(wrong)


@pytest.mark.parametrize("chain_id", [0, 2**53])
def test_a_chain_id_is_one_that_wallets_can_compute_with(chain_id: int) -> None:
    with pytest.raises(ValueError, match=f"chain id {chain_id} is not between 1 and"):
        Chain({}, chain_id=chain_id)


def test_it_goes_on_from_what_was_saved(chain: Chain) -> None:
    chain.mine()
    chain.alter(lambda state: state.set_balance(RICH, 3))
    saved = chain.dump([])
    again = Chain({}, saved=saved, hub=EventBus())
    assert again.head.hash == chain.head.hash
    assert again.state().get_balance(RICH) == 3
    with pytest.raises(ValueError, match="the saved chain has the id 1337, not 5"):
        Chain({}, chain_id=5, saved=saved)
    del saved.nodes[chain.head.header.state_root]
    with pytest.raises(ValueError, match="the saved chain is damaged: the state of block"):
        Chain({}, saved=saved)

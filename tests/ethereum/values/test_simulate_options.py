"""The order of simulated blocks, and the gaps between them."""

from __future__ import annotations

import pytest

from npipe.errors import InvalidParams
from npipe.ethereum.errors import ChainError
from npipe.ethereum.values.overrides import BlockOverrides
from npipe.ethereum.values.simulate_options import SECONDS, BlockCalls, in_order


def at(**fields: str) -> BlockCalls:
    return BlockCalls(block_overrides=BlockOverrides(**fields))  # type: ignore[arg-type]


def test_gaps_are_filled_with_empty_blocks() -> None:
    blocks = list(in_order([BlockCalls(calls=[]), at(number="0x10")], 10, 1_000))
    assert [timestamp for _, timestamp in blocks] == [1_000 + SECONDS * n for n in range(1, 7)]
    assert [block.calls for block, _ in blocks] == [[], None, None, None, None, None]
    assert [block.block_overrides is None for block, _ in blocks] == [
        *(False, True, True, True, True, False),
    ]


@pytest.mark.parametrize(
    ("blocks", "message", "code"),
    [
        ([at(number="0xa")], "block numbers must be in order: 10 <= 10", -38020),
        ([at(time="0x3e8")], "block timestamps must be in order: 1000 <= 1000", -38021),
        ([at(number="0x10b")], "too many blocks", -38026),
        ([BlockCalls()] * 257, "too many blocks", -38026),
    ],
)
def test_blocks_that_cannot_follow_are_refused(
    blocks: list[BlockCalls], message: str, code: int
) -> None:
    with pytest.raises(ChainError, match=message) as caught:
        in_order(blocks, 10, 1_000)
    assert caught.value.code == code


def test_a_simulation_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidParams, match="empty input"):
        in_order([], 10, 1_000)

"""The options of eth_simulateV1: blocks, each with calls. Imports no py-evm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from npipe.errors import InvalidParams
from npipe.ethereum.errors import ChainError
from npipe.ethereum.values.overrides import BlockOverrides, StateOverride
from npipe.ethereum.values.types import Address, TransactionRequest, to_int

__all__ = ["BlockCalls", "Simulation", "in_order"]

SECONDS = 12  # between blocks, by default
_MAX_BLOCKS = 256
_NOT_LATER, _NOT_HIGHER, _TOO_MANY = -38021, -38020, -38026  # of the execution-apis


class BlockCalls(msgspec.Struct, rename="camel"):
    """One block: its overrides, and its calls in order."""

    block_overrides: BlockOverrides | None = None
    state_overrides: dict[Address, StateOverride] | None = None
    calls: list[TransactionRequest] | None = None


class Simulation(msgspec.Struct, rename="camel"):
    """A whole simulation, with its options."""

    block_state_calls: list[BlockCalls] | None = None
    trace_transfers: bool = False
    validation: bool = False
    return_full_transactions: bool = False


def in_order(
    blocks: Sequence[BlockCalls] | None, number: int, timestamp: int
) -> Iterator[tuple[BlockCalls, int]]:
    """Yield the blocks and their times, with empty blocks in the gaps, after a base block.

    Raises InvalidParams and ChainError with geth's messages, before the first block.
    """
    if not blocks:
        raise InvalidParams("empty input")
    if len(blocks) > _MAX_BLOCKS:
        raise ChainError("too many blocks", code=_TOO_MANY)
    result: list[tuple[BlockCalls, int]] = []
    base = number
    for block in blocks:
        wanted = block.block_overrides or BlockOverrides()
        following = number + 1 if wanted.number is None else to_int(wanted.number)
        if following <= number:
            raise ChainError(
                f"block numbers must be in order: {following} <= {number}", code=_NOT_HIGHER
            )
        if following - base > _MAX_BLOCKS:
            raise ChainError("too many blocks", code=_TOO_MANY)
        for _ in range(following - number - 1):
            timestamp += SECONDS
            result.append((BlockCalls(), timestamp))
        time = timestamp + SECONDS if wanted.time is None else to_int(wanted.time)
        if time <= timestamp:
            raise ChainError(
                f"block timestamps must be in order: {time} <= {timestamp}", code=_NOT_LATER
            )
        number, timestamp = following, time
        # The header has most of the overrides; the state gets the rest.
        result.append((replace(block, block_overrides=wanted), timestamp))
    return iter(result)

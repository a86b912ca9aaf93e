"""What eth_simulateV1 can be told: blocks to come, each with calls. Imports no py-evm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from npipe.errors import InvalidParams
from npipe.ethereum.errors import ChainError
from npipe.ethereum.values.overrides import BlockOverrides, StateOverride
from npipe.ethereum.values.types import Address, TransactionRequest, to_int

__all__ = ["BlockCalls", "Simulation", "in_order"]

SECONDS = 12  # from a block to the next, where nothing is said
_MAX_BLOCKS = 256
_NOT_LATER, _NOT_HIGHER, _TOO_MANY = -38021, -38020, -38026  # of the specification


class BlockCalls(msgspec.Struct, rename="camel"):
    """One block: what is pretended in it, and what is called, one after the other."""

    block_overrides: BlockOverrides | None = None
    state_overrides: dict[Address, StateOverride] | None = None
    calls: list[TransactionRequest] | None = None


class Simulation(msgspec.Struct, rename="camel"):
    """All of it, and how much of a real block is asked of it."""

    block_state_calls: list[BlockCalls] | None = None
    trace_transfers: bool = False
    validation: bool = False
    return_full_transactions: bool = False


def in_order(
    blocks: Sequence[BlockCalls] | None, number: int, timestamp: int
) -> Iterator[tuple[BlockCalls, int]]:
    """The blocks and their times, with empty ones in the gaps, on a base of that number and time.

    Raises InvalidParams and ChainError, in geth's words, before the first.
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
        # What is in the header is said there; what is left is for the state.
        result.append((replace(block, block_overrides=wanted), timestamp))
    return iter(result)

"""The filter criteria for logs, and the search: for eth_getLogs, filters and subscriptions.

Imports no py-evm. Limits on the blocks searched and the logs returned bound the cost of one
request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from npipe.errors import RPCError
from npipe.ethereum.chain import encode as shapes
from npipe.ethereum.chain.events import Event, NewPending, RemovedBlock
from npipe.ethereum.errors import ChainError
from npipe.ethereum.values.types import TAGS, Address, BlockNumber, Hash, to_bytes, to_int

__all__ = ["LogCriteria", "Wanted", "matching"]

_MAX_BLOCKS = 100_000
_MAX_LOGS = 10_000
_MAX_CHOICES = 1_000  # addresses, or topics at one position: geth's limit
_NO_END = 2**64
_LIMIT_EXCEEDED = -32005  # limit exceeded (EIP-1474)


class LogCriteria(msgspec.Struct, rename="camel"):
    """The criteria of a caller: a block hash, or a range that includes both ends."""

    address: Address | list[Address] | None = None
    topics: list[Hash | list[Hash | None] | None] | None = None
    from_block: BlockNumber | None = None
    to_block: BlockNumber | None = None
    block_hash: Hash | None = None

    def __post_init__(self) -> None:
        if self.block_hash is not None and (self.from_block, self.to_block) != (None, None):
            raise ValueError(
                "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other"
            )
        if len(self.topics or ()) > 4:  # the EVM has no LOG5
            raise ValueError("exceed max topics")


class Wanted:
    """The addresses and topics of a LogCriteria, prepared for comparing.

    Each position of ``topics`` has the allowed topics: one, one of several, or (null) any. Raises
    ChainError if there are too many.
    """

    def __init__(self, criteria: LogCriteria) -> None:
        address = criteria.address
        addresses = [address] if isinstance(address, str) else address or []
        topics = criteria.topics or []
        choices = [len(choice) for choice in topics if isinstance(choice, list)]
        if max(len(addresses), *choices, 0) > _MAX_CHOICES:
            raise ChainError("exceed max addresses or topics per search position")
        self._first = _bound(criteria.from_block, 0)
        self._last = _bound(criteria.to_block, _NO_END)
        self._addresses = {to_bytes(text) for text in addresses}
        self._topics = [_choices(choice) for choice in topics]

    def matches(self, entry: Any) -> bool:
        """Tell whether a log matches."""
        if self._addresses and entry.address not in self._addresses:
            return False
        if len(entry.topics) < len(self._topics):
            return False
        return all(
            not choices or topic in choices
            for topic, choices in zip(entry.topics, self._topics, strict=False)
        )

    def in_block(self, mined: Any) -> Iterator[dict[str, Any]]:
        """Return the matching logs of a block, in order."""
        if not mined.header.bloom:
            return
        for entry, index, place in shapes.logs(mined):
            if self.matches(entry):
                yield shapes.log(mined, index, entry, place)

    def in_event(self, event: Event) -> list[dict[str, Any]]:
        """Return the matching logs of a new block or, newest first, of a removed one.

        Only logs of blocks in the range of the criteria match, if there is one.
        """
        if isinstance(event, NewPending):
            return []
        mined = event.mined
        if not self._first <= mined.number <= self._last or not mined.header.bloom:
            return []
        removed = isinstance(event, RemovedBlock)
        found = [
            shapes.log(mined, index, entry, place, removed=removed)
            for entry, index, place in shapes.logs(mined)
            if self.matches(entry)
        ]
        return found[::-1] if removed else found


def matching(blocks: Sequence[Any], wanted: Wanted) -> list[dict[str, Any]]:
    """Return the matching logs of blocks. Raises RPCError if there are too many of either."""
    if len(blocks) > _MAX_BLOCKS:
        raise ChainError(f"exceed maximum block range: {_MAX_BLOCKS}", code=_LIMIT_EXCEEDED)
    found: list[dict[str, Any]] = []
    for mined in blocks:
        found.extend(wanted.in_block(mined))
        if len(found) > _MAX_LOGS:
            raise RPCError(
                f"query returned more than {_MAX_LOGS} results: ask for fewer blocks",
                code=_LIMIT_EXCEEDED,
            )
    return found


def _bound(wanted: str | int | None, default: int) -> int:
    """Return the number of a block at an end of a range. None: a tag, no bound for new blocks."""
    if wanted is None or wanted in TAGS:
        return default
    return to_int(wanted)


def _choices(choice: str | list[str | None] | None) -> frozenset[int]:
    if choice is None or (isinstance(choice, list) and None in choice):  # null matches any topic
        return frozenset()
    return frozenset(to_int(text) for text in ([choice] if isinstance(choice, str) else choice))

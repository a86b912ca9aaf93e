"""The namespace eth, fifth part: logs, and filters that a client polls.

A filter uses memory while no client polls it. So there are limits on the number of filters, on the
changes that one keeps, and on the time after which one that is not polled is removed (five minutes,
as in geth).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from npipe.errors import InvalidParams, RPCError
from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.chain.events import Event, NewBlock, NewPending
from npipe.ethereum.chain.logs import LogCriteria, Wanted, matching
from npipe.ethereum.errors import ChainError, FilterNotFound
from npipe.ethereum.node.node import Node
from npipe.ethereum.node.worker import on_worker
from npipe.ethereum.values.types import FilterId, data, to_bytes

__all__ = ["EthFilters"]

_MAX_FILTERS = 1_000
_MAX_KEPT = 10_000
_LIFE = 300.0  # seconds


class _Filter:
    """The changes that one filter has collected since it was last polled."""

    def __init__(self, select: Callable[[Event], list[Any]], wanted: LogCriteria | None) -> None:
        self.select = select
        self.criteria = wanted
        self.kept: list[Any] = []
        self.token: object = None
        self.asked = 0.0

    def __call__(self, event: Event) -> None:
        if len(self.kept) <= _MAX_KEPT:  # one more than may be: it shows that some are missing
            self.kept.extend(self.select(event))

    def take(self) -> list[Any]:
        kept, self.kept = self.kept, []
        return kept


class EthFilters:
    """eth_getLogs, and the methods of filters."""

    def __init__(self, node: Node, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._worker = node.worker
        self._clock = clock
        self._filters: dict[str, _Filter] = {}

    @on_worker
    def get_logs(self, criteria: LogCriteria | None) -> list[dict[str, Any]]:
        """Return the logs of a block or a range of blocks; by default of the newest block.

        Numbers are in hex. Source: execution-apis.
        """
        criteria = criteria or LogCriteria()
        wanted = Wanted(criteria)
        return matching(self._blocks(criteria), wanted)

    @on_worker
    def new_filter(self, criteria: LogCriteria | None) -> str:
        """Install a filter for logs. Returns its id for eth_getFilterChanges, in hex.

        Source: execution-apis.
        """
        criteria = criteria or LogCriteria()
        wanted = Wanted(criteria)
        if criteria.from_block is not None and criteria.to_block is not None:
            _check_range(self._number(criteria.from_block), self._number(criteria.to_block))

        return self._add(_Filter(wanted.in_event, criteria))

    @on_worker
    def new_block_filter(self) -> str:
        """Install a filter for blocks. Returns its id for eth_getFilterChanges, in hex.

        eth_getFilterChanges then returns the hashes of new blocks. Source: execution-apis.
        """

        def select(event: Event) -> list[Any]:
            return [data(event.mined.hash)] if isinstance(event, NewBlock) else []

        return self._add(_Filter(select, None))

    @on_worker
    def new_pending_transaction_filter(self, full: bool | None = False) -> str:
        """Install a filter for pending transactions. Returns its id, in hex.

        eth_getFilterChanges then returns their hashes or, with ``full``, the objects (geth).
        Source: execution-apis.
        """
        from npipe.ethereum.chain import encode as shapes

        def select(event: Event) -> list[Any]:
            if not isinstance(event, NewPending):
                return []
            item = event.transaction
            return [shapes.transaction(item) if full else data(item.hash)]

        return self._add(_Filter(select, None))

    @on_worker
    def get_filter_changes(self, filter_id: FilterId) -> list[Any]:
        """Return the changes that a filter has collected since it was last polled.

        The type of the filter selects logs, hashes of blocks, or transactions.
        Source: execution-apis.
        """
        found = self._get(filter_id)
        changes = found.take()
        if len(changes) > _MAX_KEPT:
            self._remove(filter_id)
            raise RPCError(
                f"more than {_MAX_KEPT} changes, so the filter was removed: poll more often"
            )
        return changes

    @on_worker
    def get_filter_logs(self, filter_id: FilterId) -> list[dict[str, Any]]:
        """Return all logs that match a filter for logs, from its first block on.

        Source: execution-apis.
        """
        criteria = self._get(filter_id).criteria
        if criteria is None:
            raise FilterNotFound
        return matching(self._blocks(criteria), Wanted(criteria))

    @on_worker
    def uninstall_filter(self, filter_id: FilterId) -> bool:
        """Remove a filter. Returns true, or false if there is none with that id.

        Source: execution-apis.
        """
        return self._remove(filter_id)

    def _blocks(self, criteria: LogCriteria) -> list[MinedBlock]:
        chain = self._node.chain
        if criteria.block_hash is not None:
            mined = chain.by_hash(to_bytes(criteria.block_hash))
            if mined is None:
                raise ChainError("unknown block")
            return [mined]
        first = self._number("latest" if criteria.from_block is None else criteria.from_block)
        last = self._number("latest" if criteria.to_block is None else criteria.to_block)
        _check_range(first, last)
        if last > self._node.head.number:
            raise InvalidParams("block range extends beyond current head block")
        return list(chain.blocks[first : last + 1])

    def _number(self, wanted: str | int) -> int:
        """Return the number of a tag or quantity; a future number as it is."""
        from npipe.ethereum.values.types import to_int

        if wanted == "earliest":
            return 0
        if wanted in ("latest", "pending", "safe", "finalized"):
            return self._node.head.number
        return to_int(wanted)

    def _add(self, new: _Filter) -> str:
        self._expire()
        if len(self._filters) >= _MAX_FILTERS:
            raise ChainError(f"there are {_MAX_FILTERS} filters: remove some first")
        filter_id = "0x" + secrets.token_hex(16).lstrip("0")
        new.asked = self._clock()
        new.token = self._node.hub.add(new)
        self._filters[filter_id] = new
        return filter_id

    def _get(self, filter_id: FilterId) -> _Filter:
        self._expire()
        found = self._filters.get(filter_id or "")
        if found is None:
            raise FilterNotFound
        found.asked = self._clock()
        return found

    def _expire(self) -> None:
        oldest = self._clock() - _LIFE
        for filter_id in [key for key, item in self._filters.items() if item.asked < oldest]:
            self._remove(filter_id)

    def _remove(self, filter_id: FilterId) -> bool:
        found = self._filters.pop(filter_id or "", None)
        if found is None:
            return False
        self._node.hub.remove(found.token)
        return True


def _check_range(first: int, last: int) -> None:
    if first > last:
        raise InvalidParams("invalid block range params")

"""The namespace txpool: what waits for a block. With automining that is next to nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from npipe.ethereum.chain import encode as shapes
from npipe.ethereum.node.node import Node
from npipe.ethereum.node.worker import on_worker
from npipe.ethereum.values.types import Address, data, quantity, to_bytes

__all__ = ["TxPool"]

ByNonce = dict[str, dict[str, Any]]


class TxPool:
    """ "pending" could be mined now, "queued" waits for an earlier nonce."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker
    def status(self) -> dict[str, str]:
        """How many of each."""
        pending, queued = self._split()
        return {"pending": quantity(len(pending)), "queued": quantity(len(queued))}

    @on_worker
    def content(self) -> dict[str, ByNonce]:
        """All of them, by sender and nonce."""
        pending, queued = self._split()
        return {"pending": _by_sender(pending), "queued": _by_sender(queued)}

    @on_worker
    def content_from(self, address: Address) -> dict[str, dict[str, Any]]:
        """Those of one sender, by nonce."""
        sender = to_bytes(address)
        pending, queued = self._split()
        key = data(sender)
        return {
            "pending": _by_sender(pending).get(key, {}),
            "queued": _by_sender(queued).get(key, {}),
        }

    @on_worker
    def inspect(self) -> dict[str, dict[str, dict[str, str]]]:
        """All of them, each in a line for people."""
        pending, queued = self._split()
        return {"pending": _lines(pending), "queued": _lines(queued)}

    def _split(self) -> tuple[list[Any], list[Any]]:
        state = self._node.chain.state()
        return self._node.pool.pending(state), self._node.pool.queued(state)


def _by_sender(items: Iterable[Any]) -> ByNonce:
    found: ByNonce = {}
    for item in items:
        found.setdefault(data(item.sender), {})[str(item.nonce)] = shapes.transaction(item)
    return found


def _lines(items: Iterable[Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for item in items:
        target = data(item.to) if item.to else "contract creation"
        line = f"{target}: {item.value} wei + {item.gas} gas x {item.max_fee_per_gas} wei"
        found.setdefault(data(item.sender), {})[str(item.nonce)] = line
    return found

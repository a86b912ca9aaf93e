"""The namespace txpool: pending transactions. With automatic mining there are hardly any."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from npipe.ethereum.chain import encode as shapes
from npipe.ethereum.evm.addresses import checksum
from npipe.ethereum.node.node import Node
from npipe.ethereum.node.worker import on_worker
from npipe.ethereum.values.types import Address, quantity, to_bytes

__all__ = ["TxPool"]

BLOB = 3  # the type of a transaction with blobs
ByNonce = dict[str, dict[str, Any]]


class TxPool:
    """The pool: "pending" transactions can be mined, "queued" ones wait for an earlier nonce."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker
    def status(self) -> dict[str, str]:
        """Return the numbers of pending and of queued transactions, in hex.

        Source: geth's documentation, namespace txpool.
        """
        pending, queued = self._split()
        return {"pending": quantity(len(pending)), "queued": quantity(len(queued))}

    @on_worker
    def content(self) -> dict[str, ByNonce]:
        """Return the transactions of the pool, without blob transactions, by sender and nonce.

        Numbers are in hex, amounts in wei. Source: geth's documentation, namespace txpool.
        """
        pending, queued = self._split()
        return {"pending": _by_sender(pending), "queued": _by_sender(queued)}

    @on_worker
    def content_from(self, address: Address) -> dict[str, dict[str, Any]]:
        """Return the transactions of one sender, by nonce.

        Numbers are in hex, amounts in wei. Source: geth's documentation, namespace txpool.
        """
        sender = to_bytes(address)
        pending, queued = self._split()
        key = checksum(sender)
        return {
            "pending": _by_sender(pending).get(key, {}),
            "queued": _by_sender(queued).get(key, {}),
        }

    @on_worker
    def inspect(self) -> dict[str, dict[str, dict[str, str]]]:
        """Return a line of text for each transaction of the pool, by sender and nonce.

        Source: geth's documentation, namespace txpool.
        """
        pending, queued = self._split()
        return {"pending": _lines(pending), "queued": _lines(queued)}

    def _split(self) -> tuple[list[Any], list[Any]]:
        state = self._node.chain.state()
        return self._node.pool.pending(state), self._node.pool.queued(state)


def _by_sender(items: Iterable[Any]) -> ByNonce:
    found: ByNonce = {}
    for item in items:
        if item.type_id != BLOB:  # geth keeps these in a pool that is not reported
            found.setdefault(checksum(item.sender), {})[str(item.nonce)] = shapes.transaction(item)
    return found


def _lines(items: Iterable[Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for item in items:
        target = checksum(item.to) if item.to else "contract creation"
        line = f"{target}: {item.value} wei + {item.gas} gas x {item.max_fee_per_gas} wei"
        found.setdefault(checksum(item.sender), {})[str(item.nonce)] = line
    return found

"""What ``register`` returns: the chain that is served, to be closed when the servers are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from npipe.ethereum.chain.accounts import Account
    from npipe.ethereum.node.node import Node

__all__ = ["Service"]


@dataclass
class Service:
    """What ``register`` has put on an API. A context manager: leaving it stops the chain."""

    chain_id: int
    modules: tuple[str, ...]
    accounts: tuple[Account, ...] = ()  # with .address_hex and .key_hex, for a banner
    balance: int = 0  # of each account at the start, in wei
    mnemonic: str = field(default="", repr=False)  # the user's own may be a secret
    note: str = ""  # one line to show the user when there is no chain, else ""
    node: Node | None = field(default=None, repr=False)
    _on_close: list[Callable[[], object]] = field(default_factory=list, repr=False)

    def close(self) -> None:
        """Stop the chain, after what it is doing, and save its state if that was asked for.

        Stop the servers first. Again is nothing. Raises OSError where the state cannot be saved.
        """
        while self._on_close:
            self._on_close.pop(0)()

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

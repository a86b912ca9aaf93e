"""Handle of a chain that ``npipe.ethereum.register`` has added to an API; it stops the chain."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from npipe.ethereum.chain.accounts import Account
    from npipe.ethereum.node.node import Node

__all__ = ["Service"]


@dataclass
class Service:
    """A served chain. As a context manager it stops the chain at the end."""

    chain_id: int
    modules: tuple[str, ...]
    accounts: tuple[Account, ...] = ()  # with .address_hex and .key_hex, for a banner
    balance: int = 0  # of each account at the start, in wei
    mnemonic: str = field(default="", repr=False)  # the user's own may be a secret
    note: str = ""  # one line to show the user when there is no chain, else ""
    node: Node | None = field(default=None, repr=False)
    _closing: ExitStack = field(default_factory=ExitStack, repr=False)

    def close(self) -> None:
        """Stop the chain and save its state to the state file, if it has one. Idempotent.

        Calls in flight have half a second to finish. Then they are interrupted or refused, as are
        later calls.

        Raises:
            OSError: The state could not be saved.
        """
        self._closing.close()

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

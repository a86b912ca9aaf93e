"""The namespace net: a network of one. Needs no chain and imports no py-evm."""

from __future__ import annotations

__all__ = ["Net"]


class Net:
    """The network: this server alone."""

    def __init__(self, network_id: int) -> None:
        self._network_id = network_id

    def version(self) -> str:
        """The network's number, in decimal: the chain id."""
        return str(self._network_id)

    def listening(self) -> bool:
        """False: no peer is listened for."""
        return False

    def peer_count(self) -> str:
        """0."""
        return "0x0"

"""The namespace net: a network of one. Needs no chain and imports no py-evm."""

from __future__ import annotations

from npipe.ethereum.service import Service
from npipe.rpc.service.decorators import method

__all__ = ["Net"]


class Net:
    """The network: this server alone."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @method(inline=True)
    def version(self) -> str:
        """Return the network's number as text in decimal: the chain id."""
        return str(self._service.chain_id)

    @method(inline=True)
    def listening(self) -> bool:
        """Return true: the node is up."""
        return True

    @method(inline=True)
    def peer_count(self) -> str:
        """Return how many peers the node has, in hex: always 0x0, as it has none."""
        return "0x0"

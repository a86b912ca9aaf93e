"""The namespace net: a network of one. Needs no chain and imports no py-evm."""

from __future__ import annotations

from npipe.rpc.service.api import method

__all__ = ["Net"]


class Net:
    """The network: this server alone."""

    def __init__(self, network_id: int) -> None:
        self._network_id = network_id

    @method(inline=True)
    def version(self) -> str:
        """The network's number, in decimal: the chain id."""
        return str(self._network_id)

    @method(inline=True)
    def listening(self) -> bool:
        """True, as every node says; there are tools that ask this to see whether it is up."""
        return True

    @method(inline=True)
    def peer_count(self) -> str:
        """0."""
        return "0x0"

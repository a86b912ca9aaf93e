"""The namespace net: a network without peers. Needs no chain and imports no py-evm."""

from __future__ import annotations

from npipe.ethereum.service import Service
from npipe.rpc.service.decorators import method

__all__ = ["Net"]


class Net:
    """The network, which consists of this server."""

    def __init__(self, service: Service) -> None:
        self._service = service

    @method(inline=True)
    def version(self) -> str:
        """Return the network id, which is the chain id, as a decimal string.

        Source: ethereum.org, page JSON-RPC API.
        """
        return str(self._service.chain_id)

    @method(inline=True)
    def listening(self) -> bool:
        """Return true: the node accepts connections.

        Source: ethereum.org, page JSON-RPC API.
        """
        return True

    @method(inline=True)
    def peer_count(self) -> str:
        """Return the number of peers, in hex: always 0x0.

        Source: ethereum.org, page JSON-RPC API.
        """
        return "0x0"

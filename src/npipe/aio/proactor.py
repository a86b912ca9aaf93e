"""The asyncio face on Windows pipes, on the Proactor loop. To come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from npipe.address import Address
from npipe.aio.server import Acceptor

__all__ = ["connect", "listen"]

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


async def connect(
    protocol_factory: Callable[[], ProtocolT], address: Address, **options: Any
) -> tuple[asyncio.Transport, ProtocolT]:
    """See ``npipe.aio.create_connection``."""
    raise NotImplementedError


def listen(address: Address, **options: Any) -> Acceptor:
    """See ``npipe.aio.create_server``."""
    raise NotImplementedError

"""Run a server until somebody stops it.

The first signal stops accepting and lets running calls end; the second ends them too.

``serve`` uses the server with threads, chosen by measuring: on Linux it answers sequential calls,
calls in flight and batches as quickly as the one on asyncio does, with uvloop or without, and plain
functions, which is what most people register, almost three times as quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from npipe import rpc
from npipe.address import Address
from npipe.cli.serving.signals import Stop

__all__ = ["run"]

DRAIN: Final = 5.0  # seconds that running calls get to end


def run(
    server: rpc.Server, address: str, listen: dict[str, Any], ready: Callable[[Address], None]
) -> None:
    """Serve; call ``ready`` once clients can connect; return when stopped."""
    stop = Stop()
    try:
        ready(server.serve(address, **listen))
        stop.wait()
    finally:
        try:
            server.stop(drain=DRAIN)
        except KeyboardInterrupt:
            server.stop(drain=0)

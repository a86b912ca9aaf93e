"""Run a server until somebody stops it.

The first signal stops accepting and lets running calls end; the second ends them too. Which of
the two servers runs, threads or asyncio, is chosen here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from npipe import rpc
from npipe.address import Address
from npipe.cli._signals import Stop

__all__ = ["run"]

DRAIN: Final = 5.0  # seconds that running calls get to end


def run(
    api: rpc.API,
    address: str,
    *,
    limits: rpc.Limits,
    listen: dict[str, Any],
    ready: Callable[[Address], None],
) -> None:
    """Serve ``api``; call ``ready`` once clients can connect; return when stopped."""
    stop = Stop()
    server = rpc.Server(api, limits=limits)
    try:
        ready(server.serve(address, **listen))
        stop.wait()
    finally:
        _drain(server)


def _drain(server: rpc.Server) -> None:
    try:
        server.stop(drain=DRAIN)
    except KeyboardInterrupt:
        server.stop(drain=0)

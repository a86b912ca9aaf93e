"""Run a server until somebody stops it.

The first signal stops accepting and lets running calls end; the second ends them too.

``serve`` uses the server with threads, chosen by measuring: on Linux it answers sequential calls,
calls in flight and batches as quickly as the one on asyncio does, with uvloop or without, and plain
functions, which is what most people register, almost three times as quickly.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from npipe import rpc
from npipe.address import Address
from npipe.cli.serving.metrics import serve_metrics
from npipe.cli.serving.signals import Stop
from npipe.transport.base import Connection, Listener

__all__ = ["DRAIN", "Ready", "run"]

DRAIN: Final = 5.0  # seconds that running calls get to end


Ready = Callable[[Address, str], None]
"""Called once clients can connect, with where they can, and where the metrics are, if anywhere."""


def run(
    server: rpc.Server | rpc.Spread,
    address: str,
    listen: dict[str, Any],
    ready: Ready,
    *,
    metrics: str | None = None,
    samba: Listener[Connection] | None = None,
    save: Callable[[], object] = lambda: None,
) -> None:
    """Serve; call ``ready`` once clients can connect; return when stopped.

    Args:
        server: What is served.
        address: Where.
        listen: Options of ``npipe.listen``.
        ready: See ``Ready``.
        metrics: Where to serve the counters; see ``serve_metrics``.
        samba: Serve the clients of this listener, too.
        save: Called at the first signal, before anything else. No signal interrupts it.
    """
    stop = Stop()
    try:
        with ExitStack() as stack:
            at = ""
            if metrics is not None:
                allowed = listen.get("access", "owner")
                at = stack.enter_context(serve_metrics(metrics, server.stats, allowed))
            served_at = server.serve(address, **listen)
            if samba is not None and isinstance(server, rpc.Server):
                server.serve_listener(samba)
            ready(served_at, at)
            stop.wait()
            try:
                save()
            finally:
                stop.release()
    finally:
        try:
            server.stop(drain=DRAIN)
        except KeyboardInterrupt:
            server.stop(drain=0)

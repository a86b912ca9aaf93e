"""Run a server until a signal stops it.

The first signal stops accepting and lets calls in flight end; the second ends them too.

``serve`` uses the server with threads, which measurements favour: on Linux it answers sequential
calls, calls in flight and batches as fast as the server on asyncio, with or without uvloop, and
plain functions, which most APIs have, almost three times as fast.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final

from npipe import rpc
from npipe.address import Address
from npipe.cli.serving.metrics import serve_metrics
from npipe.cli.serving.signals import Stop
from npipe.transport.base import Connection, Listener

__all__ = ["DRAIN", "Ready", "run"]

DRAIN: Final = 5.0  # seconds for calls in flight to end


Ready = Callable[[Address, str], None]
"""Called once clients can connect, with the address, and the URL of the metrics or None."""


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
        server: The server.
        address: The address to listen at.
        listen: Options of ``npipe.listen``.
        ready: See ``Ready``.
        metrics: The address of the counters; see ``serve_metrics``.
        samba: A further listener to serve.
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
            # A full collection, during which no call is answered, omits what is there now: 1 ms
            # instead of 20 with 500 clients.
            gc.freeze()
            ready(served_at, at)
            stop.wait(save)
    finally:
        gc.unfreeze()
        try:
            server.stop(drain=DRAIN)
        except KeyboardInterrupt:
            server.stop(drain=0)
        stop.finish()

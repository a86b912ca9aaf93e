"""JSON-RPC connections over a NATS broker: ``nats://host/subject``; extra "nats".

A *worker* serves a subject; any number of them may serve the same one, on any machine that reaches
the broker. Nobody needs a port of their own. ``rpc.aio.Server.serve``, ``rpc.connect`` and
``rpc.Spread`` take such an address::

    npipe serve nats://broker/shop --api shop=package.module:Shop      # a worker
    npipe serve ./shop.ipc --upstream nats://broker/shop               # for ordinary clients

``pipe.py``     a connection: two subjects with one subscriber each, numbered messages, a window
``broker.py``   what one process has with the broker; who is alive
``workers.py``  finding the workers of a subject, and connecting to them
``service.py``  being a worker
``threads.py``  the same for programs without an event loop
"""

from __future__ import annotations

from npipe.integrations.nats.broker import Target
from npipe.integrations.nats.service import Service, serve
from npipe.integrations.nats.threads import connect, listen
from npipe.integrations.nats.workers import Workers, list_workers, open_driver

__all__ = [
    "Service",
    "Target",
    "Workers",
    "connect",
    "list_workers",
    "listen",
    "open_driver",
    "serve",
]

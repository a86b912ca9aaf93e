"""JSON-RPC connections over a NATS broker: ``nats://host/subject``; extra "nats".

A *worker* serves a subject; any number of workers may serve the same one, on any machine that
reaches the broker. A *front* is the other end of a connection: a client, or a ``Spread`` with its
clients. No program needs an open port. ``rpc.aio.Server.serve``, ``rpc.connect`` and
``rpc.Spread`` take such an address::

    npipe serve nats://broker/shop --api shop=shop:Shop      # a worker
    npipe serve ./shop.ipc --upstream nats://broker/shop               # for ordinary clients

``pipe.py``     a connection: two subjects with one subscriber each, numbered messages, a window
``broker.py``   the broker connection of a process; checks that peers are alive
``workers.py``  finding the workers of a subject, and connecting to them
``service.py``  a worker
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

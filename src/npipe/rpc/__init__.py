"""JSON-RPC 2.0 over connections, for threads. ``npipe.rpc.aio`` is the same for asyncio.

::

    api = rpc.API()
    api.register("calc", Calculator())
    with rpc.Server(api) as server:
        server.serve("calculator")
        server.serve_forever()

    with rpc.connect("calculator") as client:
        client.call("calc_add", 1, 2)
        client.batch([("calc_add", [1, 2])])
        for item in client.subscribe("calc", "ticks"):
            ...

A received message passes through ``wire``, ``session`` and ``service`` to the function registered
in the ``API``; its reply passes back. These folders do no I/O; the drivers in ``threads`` and
``aio`` do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from msgspec import Raw
except ModuleNotFoundError as _missing:
    raise ModuleNotFoundError(
        'npipe.rpc needs msgspec: pip install "npipe[rpc]"', name=_missing.name
    ) from None

from npipe.errors import (
    ConnectionLost,
    InternalError,
    InvalidParams,
    InvalidRequest,
    MethodNotFound,
    ParseError,
    ProtocolError,
    RPCError,
)
from npipe.rpc.calling.subscription_queue import GAP, Gap
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.context import Context
from npipe.rpc.service.decorators import method, subscription
from npipe.rpc.session import session as _session
from npipe.rpc.session.outgoing_calls import Entry
from npipe.rpc.threads.caller import Caller
from npipe.rpc.threads.client import Client, connect
from npipe.rpc.threads.endpoints import Endpoint
from npipe.rpc.threads.proxy import Proxy
from npipe.rpc.threads.server import Server
from npipe.rpc.threads.subscription import ClientSubscription, ResilientSubscription
from npipe.rpc.wire.codec import Codec
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.framing import Framing

if TYPE_CHECKING:
    from npipe.rpc.spread import Spread

__all__ = [
    "API",
    "COMPILED",
    "GAP",
    "Caller",
    "Client",
    "ClientSubscription",
    "Codec",
    "ConnectionLost",
    "Context",
    "Encoding",
    "Endpoint",
    "Entry",
    "Framing",
    "Gap",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "Limits",
    "MethodNotFound",
    "ParseError",
    "ProtocolError",
    "Proxy",
    "RPCError",
    "Raw",
    "ResilientSubscription",
    "Server",
    "Spread",
    "connect",
    "method",
    "subscription",
]

COMPILED: bool = not str(_session.__file__).endswith(".py")
"""True in the compiled build, whose busiest modules mypyc has compiled; it behaves the same."""


def __getattr__(name: str) -> Any:
    if name == "Spread":  # imported on first use, because its module imports asyncio
        from npipe.rpc.spread import Spread

        return Spread
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

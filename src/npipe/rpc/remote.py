"""The URL schemes of endpoints that are not pipes, and the module that implements each.

A module is imported when such an endpoint is used, because each needs an additional library. The
modules have ``connect`` and ``listen`` for threads, ``open_driver`` and ``serve`` for asyncio, and
``Workers`` for ``rpc.Spread``.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["remote_module"]

_MODULES = {"nats": "npipe.integrations.nats", "tls": "npipe.integrations.nats"}


def remote_module(endpoint: object) -> Any:
    """Return the module for a URL such as ``nats://host/subject``; None for any other endpoint."""
    if not isinstance(endpoint, str):
        return None
    scheme, separator, _ = endpoint.partition("://")
    name = _MODULES.get(scheme.lower()) if separator else None
    return None if name is None else importlib.import_module(name)

"""Endpoints of a client: an address, a program to start, or a server in this process.

Each is opened as a ``Connection``, so that other modules need not distinguish them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol, Unpack

from npipe.address import Address
from npipe.options import ConnectOptions
from npipe.rpc.calling.endpoint import (
    check_reconnect,
    is_command,
    refuse_pipe_options,
    wrong_endpoint,
)
from npipe.rpc.remote import remote_module
from npipe.transport import connect as connect_transport
from npipe.transport.base import Connection
from npipe.transport.ssh import is_ssh, ssh_command
from npipe.transport.stdio import spawn, standard_streams

__all__ = ["Endpoint", "check_endpoint", "open_endpoint"]


class InProcess(Protocol):
    """A server in this process."""

    def serve_connection(self, connection: Connection) -> None: ...


Endpoint = str | os.PathLike[str] | Address | Sequence[str] | Connection | InProcess
"""The endpoints that ``connect`` takes; its documentation describes each."""


def check_endpoint(endpoint: object, reconnect: float | None) -> None:
    """Reject an object that is not an endpoint. Raises TypeError, ValueError."""
    check_reconnect(reconnect, exists=isinstance(endpoint, Connection))
    is_address = isinstance(endpoint, str | os.PathLike | Address)
    is_open = isinstance(endpoint, Connection) or hasattr(endpoint, "serve_connection")
    if not (is_address or is_open or is_command(endpoint)):
        raise wrong_endpoint(endpoint)


def open_endpoint(
    endpoint: Endpoint, *, timeout: float | None, **options: Unpack[ConnectOptions]
) -> Connection:
    """Connect to an endpoint. ``options`` are those of ``npipe.connect``, for pipes only."""
    if is_ssh(endpoint):
        endpoint = ssh_command(endpoint)
    module = remote_module(endpoint)
    is_pipe = module is None and str(endpoint) != "stdio:"
    if isinstance(endpoint, str | Address | os.PathLike) and is_pipe:
        return connect_transport(endpoint, connect_timeout=timeout, **options)
    refuse_pipe_options(options)
    if module is not None:
        return module.connect(endpoint, timeout=timeout)  # type: ignore[no-any-return]
    if isinstance(endpoint, str | Address | os.PathLike):
        endpoint = standard_streams()
    if isinstance(endpoint, Connection):
        return endpoint
    if is_command(endpoint):
        return spawn(endpoint)
    from npipe.transport.memory import memory_pair

    ours, theirs = memory_pair()
    endpoint.serve_connection(theirs)  # type: ignore[union-attr]
    return ours

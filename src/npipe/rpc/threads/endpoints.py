"""Where a client may connect to: a pipe's address, a program to start, a server in this process.

All of them come out as connections, so that nothing else here knows the difference.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from npipe.address import Address
from npipe.transport import connect as connect_transport
from npipe.transport.base import Connection
from npipe.transport.stdio import StdioConnection

__all__ = ["Endpoint", "open_endpoint"]


class InProcess(Protocol):
    """A server in this process."""

    def serve_connection(self, connection: Connection) -> None: ...


Endpoint = str | Address | Sequence[str] | InProcess
"""An address; ``"stdio:"`` for this program's own standard input and output; the command line of
a program, as a list, to start and speak to over its; or a ``Server`` in this process."""


def open_endpoint(endpoint: Endpoint, *, timeout: float | None, **options: Any) -> Connection:
    """Connect to an endpoint. ``options`` are those of ``npipe.connect``, for addresses only."""
    if isinstance(endpoint, str | Address) and endpoint != "stdio:":
        return connect_transport(endpoint, timeout=timeout, **options)
    if isinstance(endpoint, str | Address):
        return StdioConnection(sys.stdin.buffer, sys.stdout.buffer)
    if isinstance(endpoint, Sequence):
        return _spawn(list(endpoint))
    from npipe.transport.memory import memory_pair

    ours, theirs = memory_pair()
    endpoint.serve_connection(theirs)
    return ours


def _spawn(command: list[str]) -> StdioConnection:
    import subprocess  # slow to import, and seldom needed

    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    return StdioConnection(process.stdout, process.stdin, process)

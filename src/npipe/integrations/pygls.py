"""A pygls language server on the pipe that an editor names with ``--pipe``.

    start_server(server)        # in place of pygls.cli.start_server

The editor listens and the server connects. So the server's standard output is free for prints.

Only public parts of pygls are used: ``start_io`` takes any two binary files.
"""

from __future__ import annotations

import argparse
import io
from typing import TYPE_CHECKING, Any, Unpack

import npipe
from npipe.integrations import missing

try:
    import pygls.cli
except ModuleNotFoundError as _error:
    raise missing("pygls", _error) from None

if TYPE_CHECKING:
    from collections.abc import Sequence

    from npipe.integrations.options import ConnectOptions

__all__ = ["start_server"]

TIMEOUT = 10.0  # seconds for the editor to listen


def start_server(
    server: Any, args: Sequence[str] | None = None, **options: Unpack[ConnectOptions]
) -> None:
    """Serve the editor named on the command line until it sends ``exit`` or disconnects.

    ``--pipe=NAME`` names a pipe or a Unix socket, as VS Code's ``TransportKind.pipe`` passes it.
    Without it this function calls ``pygls.cli.start_server``. ``--clientProcessId``, which VS
    Code adds, is accepted and not used.

    Args:
        server: A server of pygls.
        args: Words of the command line; ``sys.argv`` if None.
        options: Options of ``npipe.connect``.

    Raises:
        OSError: As ``npipe.connect``.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--pipe")
    parser.add_argument("--clientProcessId")
    known, rest = parser.parse_known_args(args)
    if known.pipe is None:
        pygls.cli.start_server(server, rest)
        return
    waiting: ConnectOptions = {"wait": True, **options}
    with npipe.connect(known.pipe, connect_timeout=TIMEOUT, **waiting) as connection:
        # Not the connection itself for writing: pygls flushes after each message, and the flush
        # of a Windows pipe waits until the editor has read.
        server.start_io(io.BufferedReader(connection), io.BufferedWriter(connection))

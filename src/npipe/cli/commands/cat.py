"""``npipe cat``: standard input to a connection, the connection to standard output."""

from __future__ import annotations

import io
import os
import sys
import threading

import click

import npipe
from npipe.cli.common import failures
from npipe.cli.copy import copy
from npipe.transport.base import Connection

__all__ = ["cat"]


@click.command()
@click.argument("address")
@click.option("-l", "--listen", is_flag=True, help="Be the server, for one client.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up connecting, or waiting for the client, after this long.",
)
@click.option("--wait", is_flag=True, help="Wait for a server to appear.")
def cat(address: str, listen: bool, timeout: float | None, wait: bool) -> None:
    """Copy standard input to ADDRESS, and what comes back to standard output.

    It ends when the other end closes. The end of standard input is passed on, where the system
    has a half-close: a Windows pipe has none.

    \b
    Examples:
      echo '{"jsonrpc":"2.0","id":1,"method":"rpc_modules"}' | npipe cat npipe
      npipe cat --listen ./inbox > letter
    """
    with failures(address, listening=listen):
        if listen:
            with npipe.listen(address) as listener:
                connection = listener.accept(timeout)
        else:
            connection = npipe.connect(address, timeout=timeout, wait=wait)
        with connection:
            # A daemon: nothing can wake a read of a terminal when the other end has closed.
            threading.Thread(target=_send, args=(connection,), daemon=True).start()
            copy(connection.read, _print)


def _send(connection: Connection) -> None:
    try:
        copy(lambda size: os.read(sys.stdin.fileno(), size), connection.write)
        connection.close_write()
    except io.UnsupportedOperation:  # a Windows pipe has no half-close: its end is the close
        pass
    except OSError:  # the other end is gone; reading it tells so as well
        pass


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()

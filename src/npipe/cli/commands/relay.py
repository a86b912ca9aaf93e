"""``npipe relay``: a second address for a server, byte for byte."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import click

import npipe
from npipe.cli.common import failures
from npipe.cli.copy import exchange
from npipe.cli.serving.signals import Stop
from npipe.transport.base import Connection, Listener

__all__ = ["relay"]


@click.command()
@click.argument("address")
@click.argument("target")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up connecting to the target after this long.",
)
def relay(address: str, target: str, timeout: float) -> None:
    """Listen at ADDRESS, and connect each client there to TARGET.

    \b
    Example: a fixed name for a node's socket, until Ctrl-C
      npipe relay geth ~/.ethereum/geth.ipc
    """
    with failures(address, listening=True), npipe.listen(address) as listener:
        stop = Stop()
        _start(_accept, listener, target, timeout)
        click.echo(f"{listener.address} -> {target}")
        sys.stdout.flush()
        stop.wait()


def _start(function: Callable[..., None], *args: object) -> None:
    threading.Thread(target=function, args=args, daemon=True).start()


def _accept(listener: Listener[Connection], target: str, timeout: float) -> None:
    for client in listener:
        _start(_serve, client, target, timeout)


def _serve(client: Connection, target: str, timeout: float) -> None:
    with client:
        try:
            server = npipe.connect(target, timeout=timeout)
        except OSError as error:
            click.echo(f"npipe: {target}: {error}", err=True)
            return
        exchange(client, server)

"""``npipe relay``: a second address for a server, byte for byte."""

from __future__ import annotations

import sys

import click

import npipe
from npipe.cli.common import failures
from npipe.cli.serving.signals import Stop

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
@click.option(
    "--record",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Write the JSON-RPC messages that pass to this new file.",
)
def relay(address: str, target: str, timeout: float, record: str | None) -> None:
    """Listen at ADDRESS, and connect each client there to TARGET.

    \b
    Examples, until Ctrl-C:
      npipe relay geth ~/.ethereum/geth.ipc
      npipe relay ./front.ipc ./node.ipc --record session.jsonl
    """
    from npipe.cli.serving.record import recording
    from npipe.recording import Relay

    def refused(error: OSError) -> None:
        click.echo(f"npipe: {target}: {error}", err=True)

    with failures(address, listening=True), npipe.listen(address) as listener:
        stop = Stop()
        with recording(record, target, show=None) as recorder:
            relay = Relay(target, recorder=recorder, timeout=timeout, on_refused=refused)
            relay.serve(listener)
            click.echo(f"{listener.address} -> {target}")
            sys.stdout.flush()
            stop.wait()
            relay.close()
            relay.wait(1.0)

"""``npipe tap``: prints the messages between a running server and its clients."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from npipe.cli.common import failures
from npipe.cli.serving.signals import Stop

if TYPE_CHECKING:
    from npipe.recording import Relay

__all__ = ["tap"]


@click.command()
@click.argument("address")
@click.option(
    "--record",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Also record the messages in this new file.",
)
@click.option("-q", "--quiet", is_flag=True, help="Do not print the messages.")
def tap(address: str, record: str | None, quiet: bool) -> None:
    """Print the messages of the clients of a Unix socket until Ctrl-C.

    The command takes over the address of a running server and forwards new clients to it. No
    program is restarted and no client fails, at the start or at the end. Existing connections
    are not recorded. The server sees this process as its client. After Ctrl-C, connections
    through it continue until they close; a second Ctrl-C ends them.

    \b
    Examples:
      npipe tap ./geth.ipc
      npipe tap ./geth.ipc --record session.jsonl --quiet
    """
    if sys.platform == "win32":
        raise click.UsageError(
            "tap works by renaming a socket file; on Windows use npipe relay --record"
        )
    else:  # noqa: RET506  # mypy does not look in here for Windows
        from npipe.cli.serving.record import recording
        from npipe.recording import Relay
        from npipe.recording.tap import Tap

        with failures(address):
            tap = Tap(address)
            stop = Stop()
            with recording(record, address, show=None if quiet else _show) as recorder:
                relay = Relay(tap.behind, recorder=recorder)
                tap.enter(relay)
                click.echo(f"tapping {tap.path}; Ctrl-C ends this", err=True)
                try:
                    stop.wait()
                finally:
                    if not tap.leave():
                        click.echo(
                            f"{tap.path} now belongs to another server and was not changed",
                            err=True,
                        )
                _wait(relay)
            stop.finish()


def _wait(relay: Relay) -> None:
    """Wait for the connections that pass through, or cut them at the next signal."""
    try:
        if relay.connections:
            told = f"{relay.connections} connections are still open; Ctrl-C ends them"
            click.echo(told, err=True)
        relay.wait()
    except KeyboardInterrupt:
        relay.close()
        relay.wait(1.0)


def _show(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()

"""``npipe relay``: copies the bytes between the clients of an address and a server at another."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import click

from npipe.cli import endpoints
from npipe.cli.common import failures
from npipe.cli.copy import copy_streams
from npipe.cli.remote import Remote, remote_options
from npipe.cli.serving.signals import Stop
from npipe.transport.base import Connection

__all__ = ["relay"]

STREAMS = "-"  # in place of an address: standard input and output


@click.command()
@click.argument("address")
@click.argument("target")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for connecting to TARGET.",
)
@click.option(
    "--wait", is_flag=True, help="Wait within the timeout for a target that does not listen yet."
)
@click.option(
    "--access",
    default="owner",
    show_default=True,
    metavar="owner|group|everyone",
    help="The users that may connect.",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Record the JSON-RPC messages in this new file.",
)
@remote_options
def relay(
    *,
    address: str,
    target: str,
    timeout: float,
    wait: bool,
    access: str,
    record: str | None,
    remote: Remote,
) -> None:
    """Listen at ADDRESS and connect each client to TARGET.

    \b
    Each of the two is one of
      an address        a pipe or a Unix socket
      tcp:PORT          a port of this computer, open to all its users
      -                 standard input and output, for one connection
    TARGET may also be
      exec:COMMAND      a program's standard input and output, started for each client

    \b
    Examples, until Ctrl-C:
      npipe relay geth ~/.ethereum/geth.ipc
      npipe relay tcp:2375 docker_engine
      npipe relay ./front.ipc ./node.ipc --record session.jsonl
      npipe relay ./app.ipc '\\\\host\\pipe\\app' --user me
    In WSL, to reach the ssh-agent of Windows:
      npipe relay ~/.ssh/agent "exec:npipe.exe cat --until-eof //./pipe/openssh-ssh-agent"
    """
    with failures(target):
        if target != STREAMS:
            endpoints.check(target)
    options = remote.options(target)
    dial = partial(endpoints.dial, target, timeout=timeout, wait=wait, **options)
    if STREAMS not in (address, target):
        _serve(address, target, dial=dial, access=access, record=record)
    elif record is not None:
        raise click.UsageError("--record needs an address to listen at, and another to connect to")
    elif address == target:
        raise click.UsageError("ADDRESS and TARGET cannot both be - (standard input and output)")
    else:
        _streams(address, target, dial=dial, access=access)


def _streams(address: str, target: str, *, dial: Callable[[], Connection], access: str) -> None:
    if address == STREAMS:
        with failures(target), dial() as connection:
            copy_streams(connection)
        return
    with failures(address, listening=True):
        with endpoints.listen(address, access=access) as listener:
            connection = listener.accept()
        with connection:
            copy_streams(connection)


def _serve(
    address: str,
    target: str,
    *,
    dial: Callable[[], Connection],
    access: str,
    record: str | None,
) -> None:
    from npipe.cli.serving.record import recording
    from npipe.recording import Relay

    def refused(error: OSError) -> None:
        click.echo(f"npipe: {target}: {error}", err=True)

    with (
        failures(address, listening=True),
        endpoints.listen(address, access=access) as listener,
    ):
        stop = Stop()
        with recording(record, target, show=None) as recorder:
            relay = Relay(target, dial=dial, recorder=recorder, on_refused=refused)
            relay.serve(listener)
            click.echo(f"{listener.address} -> {target}")
            sys.stdout.flush()
            stop.wait()
            relay.close()
            relay.wait(1.0)
        stop.finish()

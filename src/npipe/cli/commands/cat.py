"""``npipe cat``: copies standard input to a connection, and the connection to standard output."""

from __future__ import annotations

import click

from npipe.cli import endpoints
from npipe.cli.common import failures
from npipe.cli.copy import copy_streams
from npipe.cli.remote import Remote, remote_options

__all__ = ["cat"]


@click.command()
@click.argument("address")
@click.option("-l", "--listen", is_flag=True, help="Listen at ADDRESS for one client.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Time limit for connecting, or for waiting for the client.",
)
@click.option("--wait", is_flag=True, help="Wait for a server that does not listen yet.")
@click.option("--until-eof", is_flag=True, help="Close the connection when standard input ends.")
@remote_options
def cat(
    *,
    address: str,
    listen: bool,
    timeout: float | None,
    wait: bool,
    until_eof: bool,
    remote: Remote,
) -> None:
    """Connect standard input and output to ADDRESS.

    The command ends when the peer closes the connection. The end of standard input closes only
    one direction, if the connection supports that (a Windows pipe of bytes does not). With
    --until-eof it ends the command.

    ADDRESS may also be tcp:PORT, a port of this computer, or exec:COMMAND, a program.

    \b
    Examples:
      echo '{"jsonrpc":"2.0","id":1,"method":"rpc_modules"}' | npipe cat npipe
      npipe cat --listen ./inbox > letter
      npipe cat --until-eof //./pipe/openssh-ssh-agent
    """
    with failures(address, listening=listen):
        if listen:
            with endpoints.listen(address) as listener:
                connection = listener.accept(timeout)
        else:
            connection = endpoints.dial(
                address, timeout=timeout, wait=wait, **remote.options(address)
            )
        with connection:
            copy_streams(connection, until_eof=until_eof)

"""The list of commands. A command is imported when it is used, so the others do not delay it.

This module does no work of a command, and no command imports it.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

__all__ = ["cli"]

# The order and the text of `npipe --help`, which imports no command. Command `ls` is the function
# `ls` in npipe/cli/commands/ls.py, and the text is the first line of its own help.
COMMANDS: Final = {
    "serve": "Serve JSON-RPC 2.0 at ADDRESS until Ctrl-C or SIGTERM.",
    "call": "Call METHOD at ADDRESS and print its result as JSON.",
    "attach": "Open an interactive console to the server at ADDRESS.",
    "bench": "Measure the speed of calls of METHOD at ADDRESS.",
    "cat": "Connect standard input and output to ADDRESS.",
    "ls": "List the served pipes whose name matches PATTERN.",
    "relay": "Listen at ADDRESS and connect each client to TARGET.",
    "tap": "Print the messages of the clients of a Unix socket until Ctrl-C.",
    "replay": "Send the recorded calls of TAPE to ADDRESS and compare the replies.",
}


class Commands(click.Group):
    """A group whose commands are modules of this package."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"npipe.cli.commands.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from npipe.cli.versions import report

        click.echo(report())
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the versions of npipe, Python and the dependencies, and exit.",
)
def cli() -> None:
    """Named pipes and Unix sockets, and JSON-RPC 2.0 on top of them.

    \b
    Example, in two terminals:
      npipe serve
      npipe call npipe web3_clientVersion

    An ADDRESS is a bare name (npipe), a path (./node.ipc), or a Windows pipe
    (\\\\.\\pipe\\node). Exit status: 0 done, 1 failed, 2 wrong usage.
    """

"""The list of commands. Each is imported when it is asked for, so that one never waits for another.

No command's work is done here, and no command imports this file.
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
    "attach": "Open a console to the server at ADDRESS.",
    "bench": "Measure how fast the server at ADDRESS answers METHOD.",
    "cat": "Copy standard input to ADDRESS, and what comes back to standard output.",
    "ls": "List the pipes whose name matches PATTERN, one a line.",
    "relay": "Listen at ADDRESS, and connect each client there to TARGET.",
    "tap": "Show what passes through the Unix socket at ADDRESS until Ctrl-C.",
    "replay": "Play the clients on TAPE against the server at ADDRESS and compare its answers.",
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

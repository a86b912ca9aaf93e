"""The list of commands. Each is imported when it is asked for, so that one never waits for another.

No command's work is done here, and no command imports this file.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

from npipe.cli._common import version

__all__ = ["cli"]

# The order is that of `npipe --help`. Command `ls` is the function `ls` in npipe/cli/ls.py.
COMMANDS: Final = ("serve", "call", "attach", "bench", "cat", "ls", "relay")


class Commands(click.Group):
    """A group whose commands are modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"npipe.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        click.echo(f"npipe {version()}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
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

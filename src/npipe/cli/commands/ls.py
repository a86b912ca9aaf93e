"""``npipe ls``: the pipes that are served here."""

from __future__ import annotations

import fnmatch

import click

import npipe
from npipe.cli.common import dump

__all__ = ["ls"]


@click.command()
@click.argument("pattern", default="*")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def ls(pattern: str, as_json: bool) -> None:
    """List the pipes whose name matches PATTERN, one a line.

    On Windows all of the system's; elsewhere those in your own directory for bare names.

    \b
    Examples:
      npipe ls
      npipe ls 'geth*' --json
    """
    names = [str(pipe) for pipe in npipe.list_pipes()]
    found = sorted(name for name in names if fnmatch.fnmatch(_last(name), pattern))
    if as_json:
        click.echo(dump(found, pretty=False))
        return
    for name in found:
        click.echo(name)


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]

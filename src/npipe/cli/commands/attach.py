"""``npipe attach``: a console to a JSON-RPC server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import click

from npipe.cli.common import DEFAULT_ADDRESS, Failure, dump, failures
from npipe.cli.remote import Remote, nats_options, remote_options

if TYPE_CHECKING:
    from npipe.cli.console.catalog import Catalog
    from npipe.rpc import Client

__all__ = ["attach"]

RECONNECT: Final = 2.0  # seconds to wait for a server that restarts


class PlainScreen:
    """Prints one line of JSON for each result; errors go to standard error. For programs."""

    def result(self, value: Any, seconds: float) -> None:
        """Print the result."""
        click.echo(dump(value, pretty=False))

    def text(self, text: str) -> None:
        """Print text as a JSON string: a program that reads the output expects JSON only."""
        if text:
            click.echo(dump(text, pretty=False))

    def error(self, text: str) -> None:
        """Print one line."""
        click.echo(f"npipe: {text}", err=True)


@click.command()
@click.argument("address", default=DEFAULT_ADDRESS)
@click.option("--exec", "expression", metavar="EXPR", help="Evaluate one expression and exit.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for connecting.",
)
@remote_options
@nats_options
def attach(*, address: str, expression: str | None, timeout: float, remote: Remote) -> None:
    """Open an interactive console to the server at ADDRESS.

    Any server with JSON-RPC will do, such as npipe, geth or anvil. In a terminal the console has
    completion, colours and a history (extra "console"). If standard input is a pipe or a file,
    it evaluates each line and prints JSON.

    \b
    Examples:
      npipe attach
      npipe attach ~/.ethereum/geth.ipc
      npipe attach --exec 'eth.getBlock("latest").hash'
      echo eth.blockNumber | npipe attach npipe
    """
    from npipe import rpc
    from npipe.cli.console.catalog import discover
    from npipe.cli.console.console import Console

    interactive = expression is None and sys.stdin.isatty() and sys.stdout.isatty()
    again = RECONNECT if interactive else None
    options = remote.options(address)
    with (
        failures(address),
        rpc.connect(address, connect_timeout=timeout, reconnect=again, **options) as client,
    ):
        catalog = cache(lambda: discover(client.call))
        if interactive:
            _interact(address, client, catalog)
            return
        console = Console(client, address, catalog, PlainScreen())
        lines = [expression] if expression is not None else _expressions(sys.stdin)
        failed = [line for line in lines if not console.done and not console.execute(line)]
    if failed:
        click.get_current_context().exit(1)


def _expressions(lines: Iterator[str]) -> Iterator[str]:
    """Join lines until each expression is complete."""
    from npipe.cli.console.expression import is_complete

    held = ""
    for line in lines:
        held += line
        if is_complete(held):
            yield held
            held = ""
    if held.strip():
        yield held


def _interact(address: str, client: Client, catalog: Callable[[], Catalog]) -> None:
    """Read lines from a person until Ctrl-D or ``.exit``."""
    try:
        from npipe.cli.console.terminal import RichScreen, Terminal
    except ModuleNotFoundError as missing:
        raise Failure(
            f'the console needs {missing.name}: pip install "npipe[console]"'
            " (--exec and standard input from a pipe work without it)"
        ) from None
    from npipe.cli.console.console import Console

    screen = RichScreen()
    console = Console(client, address, catalog, screen)
    screen.text(f"attached to {address}; modules: {' '.join(sorted(catalog().modules))}")
    terminal = Terminal(catalog())
    while not console.done:
        try:
            console.execute(terminal.read())
        except KeyboardInterrupt:  # discards the line, or ends the wait for a reply
            continue
        except EOFError:
            return

"""``npipe ls``: lists the pipes that are served on this computer, or the workers at a broker."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterable, Iterator

import click

import npipe
from npipe.cli.common import Failure, dump, failures, one_line
from npipe.cli.remote import nats_options

__all__ = ["ls"]

UNIX_SOCKETS = "/proc/net/unix"
#: The flag of a listening socket, and the type of a stream; from Linux' net/unix/af_unix.c.
ACCEPTS, STREAM = 0x10000, 1


@click.command()
@click.argument("pattern", default="*")
@click.option("-a", "--all", "everything", is_flag=True, help="List the sockets of all programs.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@nats_options
def ls(pattern: str, everything: bool, as_json: bool) -> None:
    """List the served pipes whose name matches PATTERN.

    On Windows these are all pipes of the system. On other systems they are those with a bare
    name; with --all, every listening Unix socket of every user (Linux only). An abstract socket
    begins with @.

    With nats://HOST, list the workers at that broker: subject, machine and calls.

    \b
    Examples:
      npipe ls
      npipe ls 'geth*' --json
      npipe ls --all '*agent*'
      npipe ls nats://broker
    """
    if pattern.startswith(("nats://", "tls://")):
        _list_workers(pattern, as_json)
        return
    names = [str(pipe) for pipe in npipe.list_pipes()]
    if everything and sys.platform != "win32":
        names = list(_listening())
    found = sorted({name for name in names if fnmatch.fnmatch(_last(name), pattern)})
    if as_json:
        click.echo(dump(found, pretty=False))
        return
    for name in found:
        click.echo(one_line(name))


def _listening() -> Iterator[str]:
    try:
        with open(UNIX_SOCKETS, encoding="utf-8", errors="replace") as table:
            yield from parse(table)
    except FileNotFoundError as error:
        raise Failure(f"--all needs {UNIX_SOCKETS}, which this system does not have") from error


def parse(table: Iterable[str]) -> Iterator[str]:
    """Yield the address of each listening stream socket in the lines of ``/proc/net/unix``.

    A line is ``Num RefCount Protocol Flags Type St Inode Path``, of which the path may be missing
    or have spaces. A relative path is left out, because its directory is unknown.
    """
    for line in table:
        fields = line.rstrip("\n").split(maxsplit=7)
        if len(fields) < 8 or not fields[0].endswith(":"):
            continue
        flags, kind, path = int(fields[3], 16), int(fields[4], 16), fields[7]
        if flags & ACCEPTS and kind == STREAM and path[0] in "/@":
            yield path


def _list_workers(broker: str, as_json: bool) -> None:
    from npipe.integrations.nats import list_workers

    with failures(broker):
        found = list_workers(broker)
    if as_json:
        click.echo(dump(found, pretty=False))
        return
    for each in found:
        calls = f"{each['calls']} calls, {each['errors']} errors"
        click.echo(f"{each['name']}  {each['id']}  {each['host']} pid {each['pid']}  {calls}")


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]

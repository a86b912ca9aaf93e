"""``npipe replay``: sends the recorded calls of a tape to a server and compares the replies."""

from __future__ import annotations

import dataclasses

import click

from npipe.cli.common import Failure, dump, failures, one_line
from npipe.cli.remote import Remote, remote_options

__all__ = ["replay"]


@click.command()
@click.argument("tape", type=click.Path(dir_okay=False))
@click.argument("address")
@click.option(
    "--ignore",
    multiple=True,
    metavar="NAME",
    help="Ignore differences in members of this name, such as timestamp. May be repeated.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for each reply.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one line of JSON.")
@remote_options
def replay(
    *,
    tape: str,
    address: str,
    ignore: tuple[str, ...],
    timeout: float,
    as_json: bool,
    remote: Remote,
) -> None:
    """Send the recorded calls of TAPE to ADDRESS and compare the replies.

    Each message is sent once the replies before it on the tape have arrived; the recorded times
    are not kept. Notifications of the server are counted, not compared. The exit status is 1 if
    a reply differs.

    \b
    Example:
      npipe relay ./front.ipc ./node.ipc --record session.jsonl
      npipe replay session.jsonl ./new.ipc --ignore timestamp --ignore hash
    """
    from npipe.recording import replay as play

    with failures(address):
        try:
            report = play(tape, address, ignore=ignore, timeout=timeout, **remote.options(address))
        except FileNotFoundError as error:
            if error.filename != tape:
                raise
            raise Failure(f"the tape does not exist: {tape}") from error
        except ValueError as error:
            if not str(error).startswith(tape):
                raise
            raise Failure(str(error)) from error
    if as_json:
        click.echo(dump(dataclasses.asdict(report), pretty=False))
    else:
        for each in report.differences:
            told = f"{each.method} {each.path}: {each.expected} -> {each.got}"
            click.echo(one_line(told))
        click.echo(
            f"{report.sent} messages sent, {report.compared} replies compared, "
            f"{len(report.differences)} differences; "
            f"{report.pushes} notifications received, {report.pushes_expected} on the tape"
        )
    if report.differences:
        click.get_current_context().exit(1)

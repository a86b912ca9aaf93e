"""``npipe call``: makes one call and prints its result to standard output."""

from __future__ import annotations

from typing import Any

import click

from npipe.cli.common import Failure, as_object, dump, explain, failures
from npipe.cli.params import parse_named, parse_params
from npipe.cli.remote import Remote, nats_options, remote_options
from npipe.errors import RPCError

__all__ = ["call"]


@click.command(
    # A negative number looks like an option to click; parse_param tells the two apart.
    context_settings={"ignore_unknown_options": True},
)
@click.argument("address")
@click.argument("method")
@click.argument("params", nargs=-1, type=click.UNPROCESSED, metavar="[PARAM]...")
@click.option("--named", is_flag=True, help="Pass the parameters by name, each as NAME=VALUE.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for the call, including connecting.",
)
@click.option(
    "--wait", is_flag=True, help="Wait within the timeout for a server that does not listen yet."
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print an object with the result or the error as one line of JSON.",
)
@remote_options
@nats_options
def call(
    *,
    address: str,
    method: str,
    params: tuple[str, ...],
    named: bool,
    timeout: float,
    wait: bool,
    as_json: bool,
    remote: Remote,
) -> None:
    """Call METHOD at ADDRESS and print its result as JSON.

    Each PARAM is JSON. A word that is not JSON is a string, so 0x1 and latest need no quotes.
    A string that looks like JSON needs two pairs of quotes: '"123"'.

    \b
    Examples:
      npipe call npipe eth_blockNumber
      npipe call npipe eth_getBlockByNumber latest false
      npipe call npipe eth_call '{"to": "0x00..01", "data": "0x"}' latest
      npipe call --named ./app.ipc math_divide dividend=7 divisor=-2
      npipe call ssh://host/run/app.ipc app_status
      npipe call --user me '\\\\host\\pipe\\app' app_status
    """
    try:
        by_name = parse_named(params) if named else None
        by_position = [] if named else parse_params(params)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with failures(address):
        try:
            result = _call(
                address=address,
                method=method,
                by_position=by_position,
                by_name=by_name,
                timeout=timeout,
                wait=wait,
                remote=remote.options(address),
            )
        except TimeoutError as error:
            raise Failure(f"{address}: no reply within {timeout:g} seconds") from error
        except RPCError as error:
            if not as_json:
                raise Failure(f"{method}: {explain(error, address)}") from error
            click.echo(dump({"error": as_object(error)}, pretty=False))
            click.get_current_context().exit(1)
    click.echo(dump({"result": result}, pretty=False) if as_json else dump(result))


def _call(
    *,
    address: str,
    method: str,
    by_position: list[Any],
    by_name: dict[str, Any] | None,
    timeout: float,
    wait: bool,
    remote: dict[str, Any],
) -> Any:
    """Return the result as it came: no number loses a digit here."""
    import time

    from msgspec import Raw

    from npipe import rpc

    deadline = time.monotonic() + timeout
    with rpc.connect(address, connect_timeout=timeout, wait=wait, **remote) as client:
        left = max(0.001, deadline - time.monotonic())
        return client.call(method, *by_position, named=by_name, timeout=left, result_type=Raw)

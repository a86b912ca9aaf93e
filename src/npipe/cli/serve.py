"""``npipe serve``: serve an API, or the development chain, on a local pipe until stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import click

from npipe.cli._common import DEFAULT_ADDRESS, Failure, LoadError, dump, failures, version

if TYPE_CHECKING:
    from npipe import rpc
    from npipe.cli._banner import Ready
    from npipe.ethereum import Service

__all__ = ["serve"]

ETHER: Final = 10**18


def names(text: str) -> tuple[str, ...]:
    """Return names that have commas in between."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def access_of(text: str) -> str | int:
    """Return an octal mode as a number and anything else as it is; the transport judges it."""
    return int(text, 8) if text.isdecimal() else text


def ether(text: str) -> int:
    """Return an amount of ether in wei, exactly."""
    try:
        return int(Decimal(text) * ETHER)
    except ArithmeticError as error:
        raise ValueError(f"no amount of ether: {text}") from error


@click.command()
@click.argument("address", default=DEFAULT_ADDRESS)
@click.option(
    "--api",
    "apis",
    multiple=True,
    metavar="[NAMESPACE=]MODULE[:OBJECT]",
    help="Serve this object of yours. May be given again, for more namespaces.",
)
@click.option("--modules", type=names, metavar="NAME,NAME...", help="Serve only these modules.")
@click.option(
    "--access",
    type=access_of,
    default="owner",
    show_default=True,
    metavar="owner|group|everyone|MODE|SDDL",
    help="Who may connect.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    metavar="N",
    help="Turn further clients away.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="What goes to standard error.",
)
@click.option("--json-log", is_flag=True, help="Log lines of JSON.")
@click.option("--accounts", type=click.IntRange(0), metavar="N", help="Chain: funded accounts.")
@click.option("--balance", type=ether, metavar="ETH", help="Chain: what each account has.")
@click.option("--chain-id", type=click.IntRange(1), metavar="N", help="Chain: its id.")
@click.option(
    "--block-time",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Chain: a block each so often, not each transaction.",
)
@click.option(
    "--mnemonic",
    envvar="NPIPE_MNEMONIC",
    metavar="WORDS",
    help="Chain: what the accounts are made from; better given in NPIPE_MNEMONIC.",
)
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Chain: load it at the start, save it at a clean stop.",
)
@click.option("--json", "as_json", is_flag=True, help="Say that it is ready as one line of JSON.")
def serve(
    *,
    address: str,
    apis: tuple[str, ...],
    modules: tuple[str, ...] | None,
    access: str | int,
    max_connections: int | None,
    log_level: str,
    json_log: bool,
    as_json: bool,
    **chain: Any,
) -> None:
    """Serve JSON-RPC 2.0 at ADDRESS until Ctrl-C or SIGTERM.

    Without --api it serves an Ethereum development chain, if the extra "ethereum" is
    installed. Only you can connect, unless --access says otherwise.

    \b
    Examples:
      npipe serve
      npipe serve ./node.ipc --modules eth,net,web3
      npipe serve ./shop.ipc --api shop=package.module:Shop
    """
    from npipe import rpc
    from npipe.cli._logging import configure
    from npipe.cli._run import run

    configure(log_level, as_json=json_log)
    limits = rpc.Limits() if max_connections is None else rpc.Limits(connections=max_connections)
    given = {name: value for name, value in chain.items() if value is not None}
    try:
        with _service(apis, modules, given) as (api, service), failures(address, listening=True):

            def ready(at: object) -> None:
                told = _ready(str(at), access, api, service)
                click.echo(dump(told.record(), pretty=False) if as_json else told.text())
                sys.stdout.flush()

            run(api, address, limits=limits, listen={"access": access}, ready=ready)
    except (LoadError, ImportError, ValueError, OSError) as error:
        raise Failure(str(error)) from error


@contextmanager
def _service(
    apis: tuple[str, ...], modules: tuple[str, ...] | None, chain: dict[str, Any]
) -> Iterator[tuple[rpc.API, Service]]:
    """Give what is to be served, and the chain under it: none, for objects of the user's own."""
    from npipe import ethereum, rpc
    from npipe.cli._load import own_api

    if apis:
        if chain:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in chain)
            raise click.UsageError(f"--api serves no chain, so it does not go with {options}")
        api = own_api(apis, modules)
        yield api, ethereum.Service(0, ())
        return
    api = rpc.API()
    with ethereum.register(api, modules=modules, **chain) as service:
        yield api, service


def _ready(address: str, access: str | int, api: rpc.API, service: Service) -> Ready:
    from npipe.cli._banner import Ready

    return Ready(
        address=address,
        version=version(),
        pid=os.getpid(),
        modules=sorted(api.modules()),
        access=f"{access:04o}" if isinstance(access, int) else access,
        accounts=[(account.address_hex, account.key_hex) for account in service.accounts],
        balance=f"{service.balance / ETHER:,.6g} ETH",
        chain_id=service.chain_id or None,
        notes=[service.note] if service.note else [],
    )

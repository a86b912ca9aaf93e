"""``npipe serve``: serve an API, or the development chain, on a local pipe until stopped."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import click

from npipe.cli.common import DEFAULT_ADDRESS, Failure, LoadError, dump, failures, version
from npipe.cli.remote import nats_options
from npipe.cli.serving.offer import Front, Offer, make_offer
from npipe.cli.serving.options import ETHER, access_of, ether, is_remote, names

if TYPE_CHECKING:
    from collections.abc import Callable

    from npipe.cli.serving.banner import Ready
    from npipe.transport.base import Connection, Listener

__all__ = ["serve"]


def _connections_allowed() -> int:
    from npipe.transport.descriptors import connections_allowed

    return connections_allowed()


@click.command()
@click.argument("address", default=DEFAULT_ADDRESS)
@click.option(
    "--api",
    "apis",
    multiple=True,
    metavar="[NAMESPACE=]MODULE[:OBJECT]",
    help="Serve an object of a module. May be repeated, for several namespaces.",
)
@click.option(
    "--upstream",
    "upstreams",
    multiple=True,
    metavar="ADDRESS|URL",
    help="Forward all messages to a server: a pipe, or an http://, ws:// or ssh:// URL. If "
    "repeated, each client goes to the least busy of these servers.",
)
@click.option(
    "--stateless",
    is_flag=True,
    help="Distribute each client's calls over the servers of --upstream. With a nats:// ADDRESS: "
    "permit that for this worker.",
)
@click.option(
    "--replay",
    "tape",
    type=click.Path(dir_okay=False),
    metavar="TAPE",
    help="Answer from a recording of npipe relay or npipe tap.",
)
@click.option("--modules", type=names, metavar="NAME,NAME...", help="Serve only these namespaces.")
@click.option(
    "--access",
    type=access_of,
    default="owner",
    show_default=True,
    metavar="owner|group|everyone|MODE|SDDL",
    help="The users that may connect.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    default=_connections_allowed,
    metavar="N",
    help="The largest number of clients; more are disconnected. Default: what `ulimit -n` allows.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Serve --api from N processes, each with its own objects. Not on Windows.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    help="The lowest level of log messages on standard error.",
)
@click.option(
    "--samba",
    metavar="NAME",
    help=r"Also serve the SMB clients of this computer's Samba, at \\HOST\pipe\NAME.",
)
@click.option(
    "--samba-directory",
    metavar="DIRECTORY",
    help="The directory of Samba's pipe sockets, if it is not Debian's.",
)
@click.option("--json-log", is_flag=True, help="Write the log as lines of JSON.")
@click.option("--log-calls", is_flag=True, help="Log each call with its duration and its error.")
@click.option(
    "--metrics",
    metavar="HOST:PORT|ADDRESS",
    help="Serve metrics for Prometheus at this port or address, such as :9464.",
)
@click.option(
    "--accounts", type=click.IntRange(0), metavar="N", help="Chain: the number of funded accounts."
)
@click.option("--balance", type=ether, metavar="ETH", help="Chain: the balance of each account.")
@click.option("--chain-id", type=click.IntRange(1), metavar="N", help="Chain: the chain id.")
@click.option(
    "--block-time",
    type=click.FloatRange(0.001, 86_400),
    metavar="SECONDS",
    help="Chain: make a block at this interval, not for each transaction.",
)
@click.option(
    "--mnemonic",
    envvar="NPIPE_MNEMONIC",
    metavar="WORDS",
    help="Chain: the mnemonic of the accounts. Other users can see options: prefer NPIPE_MNEMONIC.",
)
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Chain: load it from this file at the start, save it at the stop.",
)
@click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Chain: the first block and the forks, in a genesis file of geth.",
)
@click.option(
    "--import",
    "import_file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Chain: execute and serve the blocks of this file, in RLP.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one line of JSON, not the banner, when the server is ready.",
)
@nats_options
def serve(
    *,
    address: str,
    apis: tuple[str, ...],
    upstreams: tuple[str, ...],
    stateless: bool,
    modules: tuple[str, ...] | None,
    access: str | int,
    max_connections: int,
    workers: int,
    log_level: str,
    json_log: bool,
    log_calls: bool,
    metrics: str | None,
    tape: str | None,
    as_json: bool,
    samba: str | None,
    samba_directory: str | None,
    **chain: Any,
) -> None:
    """Serve JSON-RPC 2.0 at ADDRESS until Ctrl-C or SIGTERM.

    Without --api it serves an Ethereum development chain, if the extra "ethereum" is
    installed. Only your own user can connect, unless you pass --access.

    \b
    Examples:
      npipe serve
      npipe serve ./node.ipc --modules eth,net,web3
      npipe serve ./node.ipc --genesis genesis.json --import chain.rlp
      npipe serve ./shop.ipc --api shop=shop:Shop
      npipe serve ./shop.ipc --api shop=shop:Shop --workers 4
      npipe serve ./node.ipc --upstream http://localhost:8545
      npipe serve ./shop.ipc --upstream ./a.ipc --upstream ssh://host/run/b.ipc
      npipe serve ./shop.ipc --api shop=shop:Shop --metrics :9464
      npipe serve ./mock.ipc --replay session.jsonl
      npipe serve ./shop.ipc --api shop=shop:Shop --samba shop
      npipe serve nats://broker/shop --api shop=shop:Shop
      npipe serve ./shop.ipc --upstream nats://broker/shop
    """
    from npipe import rpc
    from npipe.address import parse
    from npipe.cli.serving.logging import configure
    from npipe.cli.serving.metrics import split_port
    from npipe.cli.serving.samba import behind_samba
    from npipe.cli.serving.upstream import describe

    configure(log_level, as_json=json_log, calls=log_calls)
    limits = rpc.Limits(connections=max_connections)
    front = Front(upstreams, stateless)
    server_options: dict[str, Any] = {"limits": limits, "log_calls": log_calls}
    given = {name: value for name, value in chain.items() if value is not None}
    remote = is_remote(address)
    passes_on = _check_front(front, tape, has_api=bool(apis) or modules is not None)
    if stateless and not (upstreams or remote):
        raise click.UsageError("--stateless needs --upstream, or a nats:// address")
    if passes_on and log_calls:
        raise click.UsageError(
            f"--log-calls cannot be combined with {passes_on}: no call runs in this process"
        )
    _check_chain(given, is_served=not (apis or passes_on))
    shown = describe(address)
    with failures(shown):
        if metrics is not None:
            split_port(metrics) or parse(metrics)
        if not remote:
            parse(address)  # before a chain is made, which takes a second
    if workers > 1:
        _check_workers(apis, remote)
    if samba is not None and (workers > 1 or len(upstreams) > 1):
        raise click.UsageError("--samba cannot be combined with --workers or a nats:// address")
    try:
        with (
            make_offer(apis, modules, given, front, tape, options=server_options) as offer,
            failures(shown, listening=True),
            behind_samba(samba, samba_directory, access) as behind,
        ):

            def ready(at: object, metrics_at: str = "") -> None:
                told = _ready(shown, str(at), access, offer, metrics_at)
                click.echo(dump(told.record(), pretty=False) if as_json else told.text())
                sys.stdout.flush()

            listen = {"stateless": stateless} if remote else {"access": access}
            how = (offer.server, address, listen, ready)
            _run(workers, *how, metrics=metrics, samba=behind, save=offer.close)
    except OSError as error:
        told = error.strerror if error.filename is None and error.strerror else str(error)
        raise Failure(told) from error
    except (LoadError, ImportError, ValueError) as error:
        raise Failure(str(error)) from error


def _check_front(front: Front, tape: str | None, *, has_api: bool) -> str:
    """Return the option by which another server answers; empty: none. Raises UsageError."""
    passes_on = "--upstream" if front.upstreams else "--replay" if tape is not None else ""
    if passes_on and (has_api or (front.upstreams and tape is not None)):
        others = "--api, --modules or --replay" if front.upstreams else "--api or --modules"
        raise click.UsageError(f"{passes_on} cannot be combined with {others}")
    return passes_on


def _check_chain(given: Collection[str], *, is_served: bool) -> None:
    """Raise UsageError for options of a chain that contradict each other, or that no chain gets."""
    if "import_file" in given and "genesis_file" not in given:
        raise click.UsageError("--import needs --genesis, the genesis file of the same chain")
    if "genesis_file" in given and {"balance", "chain_id"} & set(given):
        raise click.UsageError(
            "--genesis sets the chain id and all balances: leave out --chain-id and --balance"
        )
    if given and not is_served:
        options = ", ".join(f"--{name.removesuffix('_file').replace('_', '-')}" for name in given)
        raise click.UsageError(
            f"{options}: only for the development chain, without --api, --upstream and --replay"
        )


def _check_workers(apis: tuple[str, ...], remote: bool) -> None:
    if sys.platform == "win32":
        raise click.UsageError("--workers is not available on Windows")
    if remote:
        raise click.UsageError(
            "--workers cannot be combined with a nats:// address: start npipe serve several times"
        )
    if not apis:
        raise click.UsageError("--workers needs --api: the development chain runs in one process")


def _run(
    workers: int,
    *how: Any,
    metrics: str | None,
    samba: Listener[Connection] | None,
    save: Callable[[], object],
) -> None:
    if workers > 1 and sys.platform != "win32":
        from npipe.cli.serving.workers import run_workers

        run_workers(workers, *how, metrics=metrics)
        return
    from npipe.cli.serving.run import run

    run(*how, metrics=metrics, samba=samba, save=save)


def _ready(given: str, address: str, access: str | int, offer: Offer, metrics: str) -> Ready:
    from npipe.cli.serving.banner import Ready
    from npipe.ethereum.chain.accounts import MNEMONIC

    chain = offer.chain
    public = chain is not None and chain.mnemonic == MNEMONIC  # the user's own keys stay hidden
    accounts = chain.accounts if chain is not None else ()
    return Ready(
        address=address,
        version=version(),
        pid=os.getpid(),
        modules=sorted(offer.modules),
        access=f"{access:04o}" if isinstance(access, int) else access,
        accounts=[each.address_hex for each in accounts],
        keys=[each.key_hex for each in accounts] if public else [],
        balance=f"{chain.balance / ETHER:,.6g} ETH" if chain is not None else "",
        chain_id=chain.chain_id if accounts and chain is not None else None,
        notes=(*offer.notes, *_hint(given)),
        metrics=metrics,
    )


def _hint(given: str) -> tuple[str, ...]:
    """Explain a bare name that looks like the name of a file."""
    on_windows = sys.platform == "win32"
    if on_windows or "/" in given or not given.endswith((".ipc", ".sock")):
        return ()
    return (f"{given} is a bare name, in your runtime directory; for a file here write ./{given}",)

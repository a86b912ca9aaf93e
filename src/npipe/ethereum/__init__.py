"""The development chain that ``npipe serve`` serves by default (extra "ethereum").

    import npipe.ethereum, npipe.rpc

    api = npipe.rpc.API()
    with npipe.ethereum.register(api) as chain:      # accounts, blocks, an EVM; all in memory
        with npipe.rpc.Server(api) as server:
            server.serve("mychain")
            ...

Layers, from the bottom: ``evm`` (execution), ``values`` (types of the API), ``chain`` (blocks,
state, pool), ``tracing``, ``node`` (the worker thread of a chain), ``api`` (the namespaces).
Importing this package imports no py-evm; that takes a second and is done when a chain is made.
Without the extra, ``register`` serves web3 and net only; ``Service.note`` then names the reason.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from npipe.ethereum.api.net import Net
from npipe.ethereum.api.web3 import Web3
from npipe.ethereum.chain.accounts import MNEMONIC
from npipe.ethereum.owner import is_owner
from npipe.ethereum.service import Service

if TYPE_CHECKING:
    from npipe.security import PeerIdentity

__all__ = ["ETHER", "MODULES", "Service", "available", "register"]

ETHER = 10**18
MODULES = (
    *("eth", "net", "web3", "evm", "debug", "txpool", "admin", "personal", "miner"),
    *("anvil", "hardhat"),
)
_FOR_OWNER = ("admin", "personal")
_WITHOUT_CHAIN = ("net", "web3")


def available() -> bool:
    """Tell whether the packages of the extra "ethereum" are installed. Imports none of them."""
    return all(importlib.util.find_spec(name) for name in ("eth", "eth_hash", "Crypto"))


class Registry(Protocol):
    """The method of ``npipe.rpc.API`` that ``register`` uses."""

    def register(
        self,
        namespace: str,
        target: object,
        /,
        *,
        allow: Callable[[PeerIdentity], bool] | None = None,
        format_error: Callable[[Sequence[Any], bytes, Exception], str] = ...,
    ) -> None: ...


def register(
    api: Registry,
    *,
    accounts: int = 10,
    balance: int = 10_000 * ETHER,
    chain_id: int = 1337,
    mnemonic: str = MNEMONIC,
    block_time: float | None = None,
    state_file: str | os.PathLike[str] | None = None,
    genesis_file: str | os.PathLike[str] | None = None,
    import_file: str | os.PathLike[str] | None = None,
    modules: Iterable[str] | None = None,
) -> Service:
    """Serve a new chain on an API.

    Args:
        api: Where the namespaces are registered.
        accounts: The number of funded accounts whose keys the node has.
        balance: The balance of each account in the first block, in wei.
        chain_id: The chain's id (EIP-155).
        mnemonic: The words that the accounts are derived from (BIP-39).
        block_time: Seconds between blocks; None mines each transaction at once.
        state_file: A file that the chain is loaded from, if it exists, and saved to by ``close``.
        genesis_file: The first block and the forks of a chain that was made elsewhere, in the
            JSON format of geth. It also defines the chain id and all balances.
        import_file: The blocks of that chain in RLP, one after the other, to be executed and
            served. Needs ``genesis_file``.
        modules: Some of MODULES; by default all of them or, without the extra, those that need no
            chain.

    Returns:
        The Service, to be closed when the servers are.

    Raises:
        ValueError: A value is out of range, a module is unknown, a file has another format, or a
            block in it is invalid; the message names the value.
        OSError: A file cannot be read.
        ImportError: A module in ``modules`` needs a package that is not installed.
    """
    if import_file is not None and genesis_file is None:
        raise ValueError("import_file needs genesis_file, the first block of the same chain")
    given_genesis, blocks = (
        b"" if path is None else Path(path).read_bytes() for path in (genesis_file, import_file)
    )
    chosen = _choose(modules)
    needing = [name for name in chosen if name not in _WITHOUT_CHAIN]
    service = Service(chain_id, chosen)
    parts: dict[str, list[Any]] = {"web3": [Web3()], "net": [Net(service)]}
    missing = _why_not() if needing else ""
    if missing and modules is not None:
        raise ImportError(f"the modules {', '.join(needing)} need the chain: {missing}")
    if missing:
        service.modules = tuple(name for name in chosen if name in _WITHOUT_CHAIN)
        service.note = f"no chain is served: {missing}"
    elif needing:
        if given_genesis:
            balance = 0
        from npipe.ethereum.build import build

        parts |= build(
            service,
            count=accounts,
            balance=balance,
            mnemonic=mnemonic,
            block_time=block_time,
            state_file=state_file,
            genesis_file=given_genesis,
            blocks=blocks,
        )
    from npipe.ethereum.geth_errors import error_formatter

    for name in service.modules:
        allow = is_owner if name in _FOR_OWNER else None
        for part in parts[name]:
            api.register(name, part, allow=allow, format_error=error_formatter(part))
    return service


def _why_not() -> str:
    """Return why there can be no chain, and what to do about it; "" if there can be one."""
    if not available():
        return 'install the extra: pip install "npipe[ethereum]"'
    try:
        importlib.import_module(".build", __name__)
    except ImportError as error:  # installed, but not for this system or this Python
        return f"a package of the extra cannot be imported: {error}"
    return ""


def _choose(modules: Iterable[str] | None) -> tuple[str, ...]:
    chosen = MODULES if modules is None else tuple(dict.fromkeys(modules))
    unknown = [name for name in chosen if name not in (*MODULES, "rpc")]
    if unknown:
        raise ValueError(f"no such module: {', '.join(unknown)}; choose from {', '.join(MODULES)}")
    return tuple(name for name in chosen if name != "rpc")  # every API has that one

"""The names known of a server (modules, methods, params), which the Tab key and help look up.

A server with ``rpc.discover`` reports them exactly. geth and others report only their modules,
anvil not even those; for these the well-known methods of Ethereum are assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from npipe.cli.console.aliases import ALIASES

__all__ = ["Catalog", "MethodHelp", "discover"]


@dataclass(frozen=True, slots=True)
class MethodHelp:
    """A method in the form of the help."""

    name: str
    params: tuple[str, ...] = ()
    summary: str = ""

    def signature(self) -> str:
        """Return ``name(param, [optional])``."""
        return f"{self.name}({', '.join(self.params)})"


class Catalog:
    """The methods of one server, by name."""

    def __init__(
        self, methods: Iterable[MethodHelp], modules: Mapping[str, str], exact: bool
    ) -> None:
        self.methods: dict[str, MethodHelp] = {method.name: method for method in methods}
        self.modules: dict[str, str] = dict(modules)
        self.exact = exact  # False: methods that are not listed may exist too

    def find(self, name: str) -> MethodHelp | None:
        """Return the method called ``name``, with an underscore or a dot in the middle."""
        return self.methods.get(name) or self.methods.get(name.replace(".", "_", 1))

    def describe(self, name: str) -> MethodHelp | None:
        """Return the line of a method for the help, also for geth's names in JavaScript."""
        found = self.find(name)
        return found or self.find(ALIASES.get(name.replace(".", "_", 1), ""))

    def complete(self, start: str) -> list[str]:
        """Return the completions of ``start``, in its own spelling: modules first, then methods."""
        if "." not in start and "_" not in start:
            names = [f"{module}." for module in self.modules]
            names += [name for name in self.methods if "_" not in name and "." not in name]
        elif "_" in start.partition(".")[0] or start.startswith("rpc."):
            names = list(self.methods)
        else:
            known = [
                *self.methods,
                *(name for name, method in ALIASES.items() if self.find(method)),
            ]
            names = [name.replace("_", ".", 1) for name in known]
        return sorted({name for name in names if name.startswith(start)})


def discover(call: Callable[[str], Any]) -> Catalog:
    """Ask a server through ``call`` (method to result; any exception means that there is none)."""
    document = _ask(call, "rpc.discover")
    methods = list(_from_openrpc(document))
    if methods:
        names = {method.name.partition("_")[0] for method in methods if "_" in method.name}
        return Catalog(methods, _modules(call) or dict.fromkeys(sorted(names), "1.0"), exact=True)
    modules = _modules(call)
    known = [m for m in _well_known() if not modules or m.name.partition("_")[0] in modules]
    if not modules:
        modules = dict.fromkeys(sorted({m.name.partition("_")[0] for m in known}), "?")
    return Catalog(known, modules, exact=False)


def _ask(call: Callable[[str], Any], method: str) -> Any:
    try:
        return call(method)
    except Exception:
        return None


def _modules(call: Callable[[str], Any]) -> dict[str, str]:
    for method in ("rpc_modules", "modules"):
        found = _ask(call, method)
        if isinstance(found, dict) and found:
            return {str(name): str(version) for name, version in found.items()}
    return {}


def _from_openrpc(document: Any) -> Iterable[MethodHelp]:
    """Read an OpenRPC document tolerantly, because it comes from a peer."""
    methods = document.get("methods") if isinstance(document, dict) else None
    for entry in methods if isinstance(methods, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            continue
        params = entry.get("params")
        names = (_param(param) for param in (params if isinstance(params, list) else ()))
        summary = entry.get("summary") or entry.get("description") or ""
        yield MethodHelp(entry["name"], tuple(names), _plain(summary))


def _plain(summary: Any) -> str:
    """Return the first line without the markup of code."""
    return str(summary).partition("\n")[0].replace("``", "")


def _param(param: Any) -> str:
    if not isinstance(param, dict):
        return "?"
    name = str(param.get("name", "?"))
    return name if param.get("required") else f"[{name}]"


# Module: methods with their parameters; the usual ones of the execution-apis and geth.
WELL_KNOWN: Final = {
    "admin": "nodeInfo peers datadir",
    "anvil": "autoImpersonateAccount(on) dropTransaction(hash) impersonateAccount(address)"
    " mine([blocks],[interval]) nodeInfo reset setBalance(address,balance) setCode(address,code)"
    " setNonce(address,nonce) setStorageAt(address,slot,value) stopImpersonatingAccount(address)",
    "debug": "traceTransaction(hash,[options]) getRawBlock(block) getRawTransaction(hash)",
    "eth": "accounts blockNumber call(transaction,[block]) chainId coinbase"
    " createAccessList(transaction,[block]) estimateGas(transaction,[block])"
    " feeHistory(count,newest,[percentiles]) gasPrice getBalance(address,[block])"
    " getBlockByHash(hash,full) getBlockByNumber(block,full) getBlockReceipts(block)"
    " getBlockTransactionCountByHash(hash) getBlockTransactionCountByNumber(block)"
    " getCode(address,[block]) getFilterChanges(filter) getFilterLogs(filter) getLogs(filter)"
    " getProof(address,keys,block) getStorageAt(address,slot,[block])"
    " getTransactionByHash(hash) getTransactionByBlockNumberAndIndex(block,index)"
    " getTransactionCount(address,[block]) getTransactionReceipt(hash) maxPriorityFeePerGas"
    " newBlockFilter newFilter(filter) newPendingTransactionFilter"
    " sendRawTransaction(transaction) sendTransaction(transaction) sign(address,data)"
    " signTransaction(transaction) simulateV1(simulation,[block]) subscribe(name,[options]) syncing"
    " uninstallFilter(filter) unsubscribe(subscription)",
    "evm": "mine snapshot revert(snapshot) increaseTime(seconds)",
    "net": "listening peerCount version",
    "txpool": "content inspect status",
    "web3": "clientVersion sha3(data)",
}


def _well_known() -> Iterable[MethodHelp]:
    for module, text in WELL_KNOWN.items():
        for word in text.split():
            name, _, params = word.rstrip(")").partition("(")
            yield MethodHelp(f"{module}_{name}", tuple(params.split(",")) if params else ())

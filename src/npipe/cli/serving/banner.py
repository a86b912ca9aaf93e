"""The text that ``npipe serve`` prints when it is ready. Pure: text in, text out."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Ready"]

SAMPLES = ("eth_blockNumber", "web3_clientVersion", "rpc_modules")


@dataclass(frozen=True, slots=True)
class Ready:
    """The served address and its contents."""

    address: str
    version: str
    pid: int
    modules: Sequence[str]
    access: str = "owner"
    accounts: Sequence[str] = ()  # of the development chain
    keys: Sequence[str] = ()  # their private keys, if they are public
    balance: str = ""  # of each account, as text: "10000 ETH"
    chain_id: int | None = None
    notes: Sequence[str] = field(default=())
    metrics: str = ""  # the address of the metrics, if they are served

    def record(self) -> dict[str, Any]:
        """Return the banner as an object for scripts. It has no private keys."""
        return {
            "address": self.address,
            "pid": self.pid,
            "modules": list(self.modules),
            "chainId": self.chain_id,
            "accounts": list(self.accounts),
            **({"metrics": self.metrics} if self.metrics else {}),
        }

    def text(self) -> str:
        """Return the banner."""
        parts = [f"npipe {self.version}", self._accounts(), self._chain(), self._connect()]
        parts += [f"Note: {note}" for note in self.notes]
        if self.metrics:
            parts.append(f"Metrics for Prometheus at {self.metrics}")
        parts.append(
            f"Listening on {self.address}\n"
            f"Modules: {' '.join(self.modules)}; access: {self.access}; pid: {self.pid}. "
            "Press Ctrl-C to stop."
        )
        return "\n\n".join(filter(None, parts))

    def _accounts(self) -> str:
        if not self.accounts:
            return ""
        names = (f"({i}) {address} ({self.balance})" for i, address in enumerate(self.accounts))
        lines = ["Accounts", "========", *names]
        if self.keys:
            keys = (f"({i}) {key}" for i, key in enumerate(self.keys))
            lines += ["", "Private keys", "============", *keys]
            lines.append("These keys are public: never send anything of value to them.")
        return "\n".join(lines)

    def _chain(self) -> str:
        return "" if self.chain_id is None else f"Chain id: {self.chain_id}"

    def _connect(self) -> str:
        path = self.address
        method = next((m for m in SAMPLES if m.partition("_")[0] in self.modules), SAMPLES[-1])
        lines = [
            "Connect",
            "=======",
            f"shell    npipe call {_shell(path)} {method}",
            f"npipe    npipe.rpc.connect({path!r}).call({method!r})",
        ]
        if {"eth", "web3"} & set(self.modules):
            lines.append(f"web3.py  Web3(Web3.IPCProvider({path!r}))")
            lines.append(f"ethers   new ethers.IpcSocketProvider({_javascript(path)})")
        return "\n".join(lines)


def _shell(path: str) -> str:
    """Quote ``path`` for a shell if necessary.

    cmd and PowerShell do not treat backslashes specially.
    """
    return path if path.startswith("\\\\") and " " not in path else shlex.quote(path)


def _javascript(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

"""Which accounts a transaction meets, and what they were before it and after: prestateTracer.

The run itself only collects them. What they were is read from a second state that is one
transaction behind, so nothing has to be remembered at the right moment.
"""

from __future__ import annotations

from typing import Any

from eth.abc import ComputationAPI, MessageAPI, StateAPI
from eth_hash.auto import keccak

from npipe.ethereum.tracing.tracers import AccessTracer
from npipe.ethereum.values.types import data, quantity, word

__all__ = ["FourByteTracer", "PrestateTracer", "accounts_before", "accounts_changed"]

JSON = dict[str, Any]
_CALLS = ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL")


class PrestateTracer(AccessTracer):
    """The accounts and slots that a transaction meets, those included that it makes."""

    def meet(self, *addresses: bytes) -> None:
        """Count these in, too: who sends, who mines."""
        for address in addresses:
            self.touched.setdefault(address, set())

    def enter(self, message: MessageAPI, kind: str) -> None:
        self.meet(message.storage_address)


class FourByteTracer:
    """Which functions were called, by selector and size of the arguments, and how often."""

    def __init__(self, precompiles: set[bytes]) -> None:
        self.counts: dict[str, int] = {}
        self._precompiles = precompiles

    def enter(self, message: MessageAPI, kind: str) -> None:
        called = bytes(message.data)
        if kind in _CALLS and len(called) >= 4 and message.code_address not in self._precompiles:
            name = f"{data(called[:4])}-{len(called) - 4}"
            self.counts[name] = self.counts.get(name, 0) + 1

    def leave(self, computation: ComputationAPI) -> None:
        pass

    def before(self, computation: Any, mnemonic: str) -> None:
        pass

    def after(self, computation: Any, error: Exception | None) -> None:
        pass


def accounts_before(tracer: PrestateTracer, before: StateAPI) -> dict[str, JSON]:
    """What was met, as it was; what did not exist is left out."""
    told = {
        data(address): _account(before, address, slots) for address, slots in tracer.touched.items()
    }
    return {name: account for name, account in told.items() if not _is_empty(account)}


def accounts_changed(
    tracer: PrestateTracer, before: StateAPI, after: StateAPI
) -> dict[str, dict[str, JSON]]:
    """What was met and changed: only that, as it was ("pre") and as it is ("post")."""
    pre: dict[str, JSON] = {}
    post: dict[str, JSON] = {}
    for address, slots in tracer.touched.items():
        name = data(address)
        was, new = _account(before, address, set()), _account(after, address, set())
        changed = {key: value for key, value in new.items() if value != was.get(key)}
        old_slots, new_slots = _changed_slots(before, after, address, slots)
        if not (changed or old_slots or new_slots):
            continue
        if not _is_empty(was):
            pre[name] = was | ({"storage": old_slots} if old_slots else {})
        post[name] = changed | ({"storage": new_slots} if new_slots else {})
    return {"post": post, "pre": pre}


def _account(state: StateAPI, address: bytes, slots: set[int]) -> JSON:
    found: JSON = {"balance": quantity(state.get_balance(address))}
    if nonce := state.get_nonce(address):
        found["nonce"] = nonce
    if code := state.get_code(address):
        found |= {"code": data(code), "codeHash": data(keccak(code))}
    if slots:
        found["storage"] = {
            word(slot): word(state.get_storage(address, slot)) for slot in sorted(slots)
        }
    return found


def _is_empty(account: JSON) -> bool:
    return account["balance"] == "0x0" and "nonce" not in account and "code" not in account


def _changed_slots(
    before: StateAPI, after: StateAPI, address: bytes, slots: set[int]
) -> tuple[dict[str, str], dict[str, str]]:
    """The slots that changed, old and new; those that are 0 are left out on that side."""
    old, new = {}, {}
    for slot in sorted(slots):
        was, now = before.get_storage(address, slot), after.get_storage(address, slot)
        if was == now:
            continue
        if was:
            old[word(slot)] = word(was)
        if now:
            new[word(slot)] = word(now)
    return old, new

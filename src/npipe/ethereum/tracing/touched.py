"""The accounts and slots that a run touches: eth_createAccessList, and prestateTracer."""

from __future__ import annotations

from typing import Any

from eth_hash.auto import keccak

from npipe.ethereum.evm.addresses import created, created2, delegate_of
from npipe.ethereum.tracing.watching import CALLS, Tracer
from npipe.ethereum.values.trace_options import TracerConfig
from npipe.ethereum.values.types import data, quantity, word

__all__ = ["AccessTracer", "PrestateTracer", "accounts_before", "accounts_changed"]

JSON = dict[str, Any]
_ACCOUNTS = ("EXTCODECOPY", "EXTCODEHASH", "EXTCODESIZE", "BALANCE", "SELFDESTRUCT")


class AccessTracer(Tracer):
    """The accounts and slots that a message touches."""

    def __init__(self) -> None:
        self.touched: dict[bytes, set[int]] = {}

    def before(self, computation: Any, mnemonic: str) -> None:
        """Take note of what an instruction is about to touch."""
        size = computation.stack_size
        if mnemonic in ("SLOAD", "SSTORE") and size:
            slots = self.touched.setdefault(computation.msg.storage_address, set())
            slots.add(computation.stack_word(0))
        elif mnemonic in _ACCOUNTS and size:
            self.meet(_address(computation.stack_word(0)))
        elif mnemonic in CALLS and size >= 5:
            self.meet(_address(computation.stack_word(1)))

    def meet(self, *addresses: bytes) -> None:
        """Count these in, too."""
        for address in addresses:
            self.touched.setdefault(address, set())


class PrestateTracer(AccessTracer):
    """The accounts and slots that a transaction meets, those included that it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.destroyed: set[bytes] = set()

    def before(self, computation: Any, mnemonic: str) -> None:
        """Take note of what an instruction touches, delegates and new contracts included."""
        super().before(computation, mnemonic)
        state, own, size = (
            computation.state,
            computation.msg.storage_address,
            computation.stack_size,
        )
        if mnemonic in CALLS and size >= 5:
            code = state.get_code(_address(computation.stack_word(1)))
            if delegate := delegate_of(code):
                self.meet(delegate)
        elif mnemonic == "CREATE" and size >= 3:
            self.meet(created(own, state.get_nonce(own)))
        elif mnemonic == "CREATE2" and size >= 4:
            start, length, salt = (computation.stack_word(depth) for depth in (1, 2, 3))
            held = computation.memory_bytes[start : start + length] if start < 2**32 else b""
            if length < 2**32:
                octets = held.ljust(length, b"\0")
                self.meet(created2(own, salt, octets))
        elif mnemonic == "SELFDESTRUCT" and size and own in computation.contracts_created:
            self.destroyed.add(own)


def accounts_before(tracer: PrestateTracer, before: Any, options: TracerConfig) -> dict[str, JSON]:
    """Tell what was met as it was; what did not exist is left out unless it is asked for."""
    told: dict[str, JSON] = {}
    for address, slots in tracer.touched.items():
        account = _account(before, address, slots, options)
        if account.pop("") or options.include_empty:
            told[data(address)] = account
    return told


def accounts_changed(
    tracer: PrestateTracer, before: Any, after: Any, options: TracerConfig
) -> dict[str, dict[str, JSON]]:
    """Tell what was met and changed: only that, as it was ("pre") and as it is ("post")."""
    pre: dict[str, JSON] = {}
    post: dict[str, JSON] = {}
    for address, slots in tracer.touched.items():
        name = data(address)
        was, new = (_account(state, address, set(), options) for state in (before, after))
        existed, _ = was.pop(""), new.pop("")
        if address in tracer.destroyed:
            if existed or options.include_empty:
                pre[name] = was
            continue
        changed = {key: value for key, value in new.items() if value != was.get(key)}
        if not options.disable_code and "code" in was and "code" not in new:
            changed |= {"code": "0x", "codeHash": data(keccak(b""))}
        old_slots: dict[str, str] = {}
        new_slots: dict[str, str] = {}
        if not options.disable_storage:
            old_slots, new_slots = _changed_slots(before, after, address, slots)
        if not (changed or old_slots or new_slots):
            continue
        if existed or options.include_empty:
            pre[name] = was | ({"storage": old_slots} if old_slots else {})
        post[name] = changed | ({"storage": new_slots} if new_slots else {})
    return {"post": post, "pre": pre}


def _account(state: Any, address: bytes, slots: set[int], options: TracerConfig) -> JSON:
    """An account; under the key "" whether it exists at all."""
    balance, nonce, code = (
        state.get_balance(address),
        state.get_nonce(address),
        state.get_code(address),
    )
    found: JSON = {"": bool(balance or nonce or code), "balance": quantity(balance)}
    if nonce:
        found["nonce"] = nonce
    if code:
        found["codeHash"] = data(keccak(code))
    if code and not options.disable_code:
        found["code"] = data(code)
    if slots and not options.disable_storage:
        found["storage"] = {
            word(slot): word(state.get_storage(address, slot)) for slot in sorted(slots)
        }
    return found


def _changed_slots(
    before: Any, after: Any, address: bytes, slots: set[int]
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


def _address(number: int) -> bytes:
    return number.to_bytes(32, "big")[12:]

"""The accounts and slots that an execution touches: eth_createAccessList and prestateTracer."""

from __future__ import annotations

from typing import Any

from eth.exceptions import FullStack, InsufficientStack, OutOfGas
from eth_hash.auto import keccak

from npipe.ethereum.evm.addresses import created, created2, delegate_of
from npipe.ethereum.tracing.watching import CALLS, Tracer
from npipe.ethereum.values.trace_options import TracerConfig
from npipe.ethereum.values.types import data, quantity, word

__all__ = ["AccessTracer", "PrestateTracer", "accounts_before", "accounts_changed"]

JSON = dict[str, Any]
_MAX_CODE_AT = 2**32  # gas limits memory to less
_ACCOUNTS = ("EXTCODECOPY", "EXTCODEHASH", "EXTCODESIZE", "BALANCE", "SELFDESTRUCT")


class AccessTracer(Tracer):
    """The accounts and slots that a message touches."""

    def __init__(self) -> None:
        self.touched: dict[bytes, set[int]] = {}

    def before(self, computation: Any, mnemonic: str) -> None:
        """Add the account or slot that an instruction is about to touch."""
        for address, slot in _touches(computation, mnemonic):
            self.meet(address)
            if slot is not None:
                self.touched[address].add(slot)

    def meet(self, *addresses: bytes) -> None:
        """Add accounts."""
        for address in addresses:
            self.touched.setdefault(address, set())


class PrestateTracer(AccessTracer):
    """The accounts and slots that a transaction touches, with those that it creates.

    The account or slot of an instruction is added after it ran, because one without enough gas
    touches nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.destroyed: set[bytes] = set()
        self._running: list[list[tuple[bytes, int | None]]] = []

    def before(self, computation: Any, mnemonic: str) -> None:
        """Find the account or slot of an instruction, with delegates and new contracts."""
        touches = [*_touches(computation, mnemonic), *_makes(computation, mnemonic)]
        state, own = computation.state, computation.msg.storage_address
        if mnemonic in CALLS and touches and (found := delegate_of(state.get_code(touches[0][0]))):
            touches.append((found, None))
        if mnemonic == "SELFDESTRUCT" and touches and own in computation.contracts_created:
            self.destroyed.add(own)
        self._running.append(touches)

    def after(self, computation: Any, error: Exception | None) -> None:
        """Add it, unless the instruction never ran."""
        touches = self._running.pop()
        if not isinstance(error, _NEVER_RAN):
            for address, slot in touches:
                self.meet(address)
                if slot is not None:
                    self.touched[address].add(slot)


#: Errors that are found before an instruction runs.
_NEVER_RAN = (OutOfGas, InsufficientStack, FullStack)


def _touches(computation: Any, mnemonic: str) -> list[tuple[bytes, int | None]]:
    """Return the account and the slot that an instruction is about to touch, if any."""
    size = computation.stack_size
    if mnemonic in ("SLOAD", "SSTORE") and size:
        return [(computation.msg.storage_address, computation.stack_word(0))]
    if mnemonic in _ACCOUNTS and size:
        return [(_address(computation.stack_word(0)), None)]
    if mnemonic in CALLS and size >= 5:
        return [(_address(computation.stack_word(1)), None)]
    return []


def _makes(computation: Any, mnemonic: str) -> list[tuple[bytes, None]]:
    """Return the address of the contract that an instruction is about to create."""
    own, size = computation.msg.storage_address, computation.stack_size
    if mnemonic == "CREATE" and size >= 3:
        return [(created(own, computation.state.get_nonce(own)), None)]
    if mnemonic == "CREATE2" and size >= 4:
        start, length, salt = (computation.stack_word(depth) for depth in (1, 2, 3))
        if start + length < _MAX_CODE_AT:
            octets = computation.memory_bytes[start : start + length].ljust(length, b"\0")
            return [(created2(own, salt, octets), None)]
    return []


def accounts_before(tracer: PrestateTracer, before: Any, options: TracerConfig) -> dict[str, JSON]:
    """Return the touched accounts as they were before; new ones only on request."""
    told: dict[str, JSON] = {}
    for address, slots in tracer.touched.items():
        account = _account(before, address, slots, options)
        if account.pop("") or options.include_empty:
            told[data(address)] = account
    return told


def accounts_changed(
    tracer: PrestateTracer, before: Any, after: Any, options: TracerConfig
) -> dict[str, dict[str, JSON]]:
    """Return the touched accounts that changed, as they were ("pre") and are ("post")."""
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
    """Return an account in JSON; the key "" tells whether it exists."""
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
    """Return the changed slots, old and new values; a zero is left out on its side."""
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

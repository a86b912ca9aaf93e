"""Watching the EVM run: struct logs, call frames, and the storage that a message touches.

py-evm has no hooks, so a tracer is a computation class made for one run, whose table of opcodes
calls the tracer around each instruction. Nothing global is changed and a normal run pays nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from eth.abc import ComputationAPI, MessageAPI
from eth.exceptions import Halt

from npipe.ethereum.errors import ChainError, revert_reason
from npipe.ethereum.evm.execution import describe
from npipe.ethereum.evm.machine import Computation
from npipe.ethereum.values.types import data, quantity

__all__ = ["AccessTracer", "CallTracer", "StructTracer", "Tracer", "traced"]

_CREATES = ("CREATE", "CREATE2")
_RENAMED = {"SHA3": "KECCAK256", "DIFFICULTY": "PREVRANDAO"}  # what geth calls them today
_MAX_STEPS = 200_000  # of one trace, which makes it some 50 MB of JSON


class Tracer(Protocol):
    """What is told about a run."""

    def enter(self, message: MessageAPI, kind: str) -> None: ...
    def leave(self, computation: ComputationAPI) -> None: ...
    def before(self, computation: Any, mnemonic: str) -> None: ...
    def after(self, computation: Any, error: Exception | None) -> None: ...


def traced(tracer: Tracer) -> type[Computation]:
    """A computation class that tells ``tracer`` everything."""
    calls: list[str] = []  # the mnemonics of the instructions that are running, outermost first

    def watch(code: int, operation: Callable[..., None]) -> Callable[..., None]:
        mnemonic = Computation.mnemonics[code]
        mnemonic = _RENAMED.get(mnemonic, mnemonic)

        def run(computation: Any) -> None:
            tracer.before(computation, mnemonic)
            calls.append(mnemonic)
            try:
                operation(computation=computation)
            except Halt:
                tracer.after(computation, None)
                raise
            except Exception as error:
                tracer.after(computation, error)
                raise
            else:
                tracer.after(computation, None)
            finally:
                calls.pop()

        return run

    class Traced(Computation):
        opcodes = {  # noqa: RUF012 - py-evm's own way of saying it
            code: watch(code, operation) for code, operation in Computation.opcodes.items()
        }

        @classmethod
        def apply_computation(
            cls, state: Any, message: Any, transaction_context: Any, parent_computation: Any = None
        ) -> Any:
            tracer.enter(message, calls[-1] if calls else "CREATE" if message.is_create else "CALL")
            computation = super().apply_computation(
                state, message, transaction_context, parent_computation=parent_computation
            )
            tracer.leave(computation)
            return computation

    return Traced


class StructTracer:
    """geth's default: one entry for each instruction."""

    def __init__(
        self, *, stack: bool = True, memory: bool = False, storage: bool = True, limit: int = 0
    ) -> None:
        self.steps: list[dict[str, Any]] = []
        self._with_stack, self._with_memory, self._with_storage = stack, memory, storage
        self._limit = limit
        self._open: list[tuple[dict[str, Any], int]] = []  # running instructions and gas before
        self._storage: dict[bytes, dict[str, str]] = {}  # seen so far, of each account
        self._refund = 0
        self._refunds: list[int] = []  # what it was when each of the frames began

    def enter(self, message: MessageAPI, kind: str) -> None:
        """A call has begun: what its instruction cost is known now, before it gives gas back."""
        self._refunds.append(self._refund)
        if self._open:
            step, gas = self._open[-1]
            handed = (
                message.gas if message.is_create else 0
            )  # geth counts a call's, a creation's not
            step.setdefault("gasCost", gas - self._remaining - handed)

    def leave(self, computation: ComputationAPI) -> None:
        before = self._refunds.pop()
        if computation.is_error:
            self._refund = before

    def before(self, computation: Any, mnemonic: str) -> None:
        gas = computation.get_gas_meter().gas_remaining
        self._refunded = computation.get_gas_meter().gas_refunded
        step: dict[str, Any] = {
            "pc": max(0, computation.code.program_counter - 1),
            "op": mnemonic,
            "gas": gas,
            "depth": computation.msg.depth + 1,
        }
        if self._with_stack:
            step["stack"] = [_hex(value) for value in computation._stack.values]
        if self._with_memory and (octets := bytes(computation._memory._bytes)):
            step["memory"] = [data(octets[at : at + 32]) for at in range(0, len(octets), 32)]
        if self._with_storage and mnemonic in ("SLOAD", "SSTORE"):
            self._see_storage(computation, mnemonic, step)
        if self._refund:
            step["refund"] = self._refund
        # An account without code runs, to py-evm, one STOP.
        if len(computation.code) and (not self._limit or len(self.steps) < self._limit):
            self._keep(step)
        self._open.append((step, gas))
        self._computation = computation

    def after(self, computation: Any, error: Exception | None) -> None:
        step, gas = self._open.pop()
        step.setdefault("gasCost", max(0, gas - computation.get_gas_meter().gas_remaining))
        if step["op"] == "SSTORE" and (more := self._newly_refunded(computation)):
            self._refund = step["refund"] = self._refund + more
        if error is not None and step["op"] != "REVERT":
            step["error"] = describe(error)

    def _keep(self, step: dict[str, Any]) -> None:
        if len(self.steps) == _MAX_STEPS:
            raise ChainError(
                f"the trace has more than {_MAX_STEPS} steps: give a limit, or ask for callTracer"
            )
        self.steps.append(step)

    def _newly_refunded(self, computation: Any) -> int:
        return int(computation.get_gas_meter().gas_refunded - self._refunded)

    @property
    def _remaining(self) -> int:
        return int(self._computation.get_gas_meter().gas_remaining)

    def _see_storage(self, computation: Any, mnemonic: str, step: dict[str, Any]) -> None:
        values = [_number(value) for value in computation._stack.values[-2:]]
        if len(values) < (2 if mnemonic == "SSTORE" else 1):
            return  # it is about to fail for want of them
        address = computation.msg.storage_address
        if mnemonic == "SSTORE":
            value, slot = values
        else:
            slot = values[-1]
            value = computation.state.get_storage(address, slot)
        seen = self._storage.setdefault(address, {})
        seen[f"{slot:064x}"] = f"{value:064x}"
        step["storage"] = dict(seen)


class CallTracer:
    """geth's callTracer: the tree of calls, without the instructions."""

    def __init__(self, *, only_top: bool = False, with_logs: bool = False) -> None:
        self.top: dict[str, Any] = {}
        self._only_top, self._with_logs = only_top, with_logs
        self._frames: list[dict[str, Any]] = []

    def enter(self, message: MessageAPI, kind: str) -> None:
        creates = message.is_create
        frame: dict[str, Any] = {
            "type": kind,
            "from": data(message.sender),
            "to": data(message.storage_address if creates else _callee(message, kind)),
            "gas": quantity(message.gas),
            "gasUsed": "0x0",
            "input": data(bytes(message.code if creates else message.data)),
        }
        if kind != "STATICCALL":
            frame["value"] = quantity(message.value)
        if not self._frames:
            self.top = frame
        elif not self._only_top:
            self._frames[-1].setdefault("calls", []).append(frame)
        self._frames.append(frame)

    def leave(self, computation: Any) -> None:
        frame = self._frames.pop()
        frame["gasUsed"] = quantity(computation.get_gas_used())
        if computation.output:
            frame["output"] = data(bytes(computation.output))
        if computation.is_error:
            frame["error"] = describe(computation.error)
            if reason := revert_reason(bytes(computation.output)):
                frame["revertReason"] = reason
        elif self._with_logs and computation._log_entries:
            frame["logs"] = [
                {
                    "address": data(address),
                    "topics": [f"0x{topic:064x}" for topic in topics],
                    "data": data(payload),
                    "position": "0x0",
                }
                for _, address, topics, payload in computation._log_entries
            ]

    def before(self, computation: Any, mnemonic: str) -> None:
        """An account that ends itself sends all it has: geth counts that as a call."""
        stack = computation._stack.values
        if mnemonic == "SELFDESTRUCT" and stack and not self._only_top:
            address = computation.msg.storage_address
            self._frames[-1].setdefault("calls", []).append(
                {
                    "type": mnemonic,
                    "from": data(address),
                    "to": data(_number(stack[-1]).to_bytes(32, "big")[12:]),
                    "gas": "0x0",
                    "gasUsed": "0x0",
                    "input": "0x",
                    "value": quantity(computation.state.get_balance(address)),
                }
            )

    def after(self, computation: Any, error: Exception | None) -> None:
        pass


class AccessTracer:
    """The accounts and slots that a message touches, for eth_createAccessList."""

    _ACCOUNTS = ("EXTCODECOPY", "EXTCODEHASH", "EXTCODESIZE", "BALANCE", "SELFDESTRUCT")
    _CALLS = ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL")

    def __init__(self) -> None:
        self.touched: dict[bytes, set[int]] = {}

    def before(self, computation: Any, mnemonic: str) -> None:
        stack = computation._stack.values
        if mnemonic in ("SLOAD", "SSTORE") and stack:
            slots = self.touched.setdefault(computation.msg.storage_address, set())
            slots.add(_number(stack[-1]))
        elif mnemonic in self._ACCOUNTS and stack:
            self._touch(stack[-1])
        elif mnemonic in self._CALLS and len(stack) > 1:
            self._touch(stack[-2])

    def enter(self, message: MessageAPI, kind: str) -> None:
        pass

    def leave(self, computation: ComputationAPI) -> None:
        pass

    def after(self, computation: Any, error: Exception | None) -> None:
        pass

    def _touch(self, value: Any) -> None:
        self.touched.setdefault(_number(value).to_bytes(32, "big")[12:], set())


def _callee(message: MessageAPI, kind: str) -> bytes:
    """Whose code runs: with DELEGATECALL and CALLCODE not the account that is changed."""
    if kind in ("DELEGATECALL", "CALLCODE"):
        return bytes(message.code_address)
    return bytes(message.to)


def _number(value: Any) -> int:
    """A word of py-evm's stack, which holds numbers and bytes as they came."""
    item = value[1] if isinstance(value, tuple) else value
    return item if isinstance(item, int) else int.from_bytes(item, "big")


def _hex(value: Any) -> str:
    return hex(_number(value))

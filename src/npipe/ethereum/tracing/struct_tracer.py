"""geth's struct logger: one entry for each instruction."""

from __future__ import annotations

from typing import Any

from eth.exceptions import FullStack, InsufficientStack, OutOfGas

from npipe.ethereum.errors import ChainError
from npipe.ethereum.evm.execution import describe
from npipe.ethereum.evm.stack import underflow
from npipe.ethereum.tracing.watching import CREATES, Attempt, Frame, Tracer
from npipe.ethereum.values.types import data, word

__all__ = ["StructTracer"]

_MAX_STEPS = 200_000  # entries of one trace, about 50 MB of JSON
#: Errors that geth finds before an instruction runs, and that are in its entry.
_FOUND_BEFORE = (OutOfGas, InsufficientStack, FullStack)


class StructTracer(Tracer):
    """The instructions, with gas, stack, memory and storage before each."""

    def __init__(
        self,
        *,
        stack: bool = True,
        memory: bool = False,
        storage: bool = True,
        return_data: bool = False,
        limit: int = 0,
    ) -> None:
        self.steps: list[dict[str, Any]] = []
        self._with_stack, self._with_memory, self._with_storage = stack, memory, storage
        self._with_return_data = return_data
        self._limit = limit
        self._open: list[tuple[dict[str, Any], Any]] = []  # running instructions and their frames
        self._storage: dict[bytes, dict[str, str]] = {}  # the slots seen so far, by account
        self._refund = 0
        self._refunds: list[int] = []  # the refund when each of the frames began

    def enter(self, frame: Frame) -> None:
        """Begin a frame: the cost of its instruction is now known."""
        if not self._refunds:
            self._refund = frame.refund
        self._refunds.append(self._refund)
        self._tell_cost()

    def fail(self, attempt: Attempt) -> None:
        """Set the cost of an instruction whose frame could not begin."""
        collided = attempt.gas_used > 0
        self._tell_cost(own_only=attempt.frame.kind in CREATES and not collided)

    def leave(self, frame: Frame, computation: Any) -> None:
        """End a frame. The refunds of a failed frame do not count."""
        before = self._refunds.pop()
        if computation.is_error:
            self._refund = before

    def before(self, computation: Any, mnemonic: str) -> None:
        """Add an entry with the state before an instruction."""
        meter = computation.get_gas_meter()
        self._refunded = meter.gas_refunded
        step: dict[str, Any] = {
            "pc": computation.code.program_counter - 1,
            "op": mnemonic,
            "gas": meter.gas_remaining,
            "depth": computation.msg.depth + 1,
        }
        if self._with_stack:
            step["stack"] = [hex(value) for value in computation.stack_words]
        if self._with_return_data and computation.return_data:
            step["returnData"] = data(bytes(computation.return_data))
        if self._with_memory and (octets := computation.memory_bytes):
            step["memory"] = [data(octets[at : at + 32]) for at in range(0, len(octets), 32)]
        if self._with_storage and mnemonic in ("SLOAD", "SSTORE"):
            self._see_storage(computation, mnemonic, step)
        if self._refund:
            step["refund"] = self._refund
        self._keep(step)
        self._open.append((step, computation))

    def after(self, computation: Any, error: Exception | None) -> None:
        """Add the cost of the instruction, and its error if it failed before it ran."""
        self._tell_cost(own_only=True)
        step, _ = self._open.pop()
        if step["op"] == "SSTORE" and error is None and (more := self._newly_refunded(computation)):
            self._refund = step["refund"] = self._refund + more
        if isinstance(error, InsufficientStack):
            error = underflow(computation.code.last, computation.stack_size)
        if isinstance(error, _FOUND_BEFORE):
            step["error"] = describe(error)

    def _tell_cost(self, *, own_only: bool = False) -> None:
        """Return the cost of the running instruction; as in geth, without a creation's own gas."""
        if not self._open:
            return
        step, computation = self._open[-1]
        handed = computation.last_asked if step["op"] in CREATES and not own_only else 0
        step.setdefault("gasCost", max(0, computation.asked - handed))

    def _keep(self, step: dict[str, Any]) -> None:
        if self._limit and len(self.steps) >= self._limit:
            return
        if len(self.steps) == _MAX_STEPS:
            raise ChainError(
                f"the trace has more than {_MAX_STEPS} steps: pass a limit, or use callTracer"
            )
        self.steps.append(step)

    def _newly_refunded(self, computation: Any) -> int:
        return int(computation.get_gas_meter().gas_refunded - self._refunded)

    def _see_storage(self, computation: Any, mnemonic: str, step: dict[str, Any]) -> None:
        if computation.stack_size < (2 if mnemonic == "SSTORE" else 1):
            return  # it is about to fail with a stack underflow
        address, slot = computation.msg.storage_address, computation.stack_word(0)
        if mnemonic == "SSTORE":
            value = computation.stack_word(1)
        else:
            value = computation.state.get_storage(address, slot)
        seen = self._storage.setdefault(address, {})
        seen[word(slot)] = word(value)
        step["storage"] = dict(seen)

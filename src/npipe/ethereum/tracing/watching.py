"""The notifications that a tracer gets while the EVM runs.

py-evm has no hooks. So a tracer gets a computation class made for one run, whose table of opcodes
calls the tracer around each instruction. Nothing global changes, and a run without a tracer is not
slower.

The order is geth's: ``before`` an instruction, ``enter`` and ``leave`` for a frame that it opens
(also for a call or creation that cannot begin), ``after`` the instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from eth.exceptions import Halt
from eth.vm.logic.invalid import InvalidOpcode

__all__ = ["CALLS", "CREATES", "Attempt", "Frame", "Tracer", "traced"]

CALLS = ("CALL", "CALLCODE", "DELEGATECALL", "STATICCALL")
CREATES = ("CREATE", "CREATE2")
_RENAMED = {"SHA3": "KECCAK256", "DIFFICULTY": "PREVRANDAO"}  # geth's present names
_MAX_DEPTH = 1024
_MAX_NONCE = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """A call or a creation at its beginning."""

    kind: str  # the mnemonic that opened it
    origin: bytes  # the account that calls
    target: bytes  # the account that is called, or created
    storage: bytes  # the account whose storage it uses
    gas: int = 0
    input: bytes = b""
    value: int = 0
    refund: int = 0  # the refund before the execution (EIP-7702)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call or a creation that could not begin, with geth's message."""

    frame: Frame
    error: str
    gas_used: int


class Tracer:
    """The notifications of a run. Each method does nothing until it is overridden."""

    def enter(self, frame: Frame) -> None:
        """Handle the beginning of a frame."""

    def leave(self, frame: Frame, computation: Any) -> None:
        """Handle the end of a frame; the code of a creation was stored, or not."""

    def fail(self, attempt: Attempt) -> None:
        """Handle a frame that could not begin: because of the balance, the depth or a collision."""

    def before(self, computation: Any, mnemonic: str) -> None:
        """Handle an instruction that is about to run; an account without code runs none."""

    def after(self, computation: Any, error: Exception | None) -> None:
        """Handle an instruction that has run, or failed."""


def traced(tracer: Tracer, plain: Any) -> Any:
    """Return the computation class ``plain`` with notifications to ``tracer``."""
    watch = _Watch(tracer)

    class Traced(plain):
        opcodes = {code: watch.around(plain, code) for code in range(256)}  # noqa: RUF012

        def _configure_gas_meter(self) -> Any:
            meter = super()._configure_gas_meter()
            consume, give_back = meter.consume_gas, meter.return_gas
            self.asked = self.last_asked = self.handed_back = 0

            def count(amount: int, reason: str) -> None:
                self.asked += amount
                self.last_asked = amount
                consume(amount, reason)

            def note(amount: int) -> None:
                self.handed_back = amount
                give_back(amount)

            meter.consume_gas, meter.return_gas = count, note
            return meter

        def generate_child_computation(self, child_msg: Any) -> Any:
            watch.enter(child_msg, self, self.state)
            child = super().generate_child_computation(child_msg)
            watch.leave(child)
            return child

    Traced.watch = watch
    return Traced


class _Watch:
    """Converts py-evm's calls to notifications of a tracer."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._running: list[
            tuple[str, int]
        ] = []  # instructions from the outermost, with their target
        self._frames: list[Frame] = []
        self._entered = 0

    def enter(self, message: Any, parent: Any, _state: Any) -> None:
        """Notify of a message about to run; ``parent`` is None for the first one."""
        creates = message.is_create
        if parent is None:
            kind, target = "CREATE" if creates else "CALL", message.to
        else:
            kind, number = self._running[-1]
            target = number.to_bytes(32, "big")[12:]
        frame = Frame(
            kind,
            message.storage_address if kind == "DELEGATECALL" else message.sender,
            message.storage_address if creates else target,
            message.storage_address,
            gas=message.gas,
            input=bytes(message.code if creates else message.data),
            value=message.value,
            refund=message.refund,
        )
        self._entered += 1
        self._frames.append(frame)
        self._tracer.enter(frame)

    def leave(self, computation: Any) -> None:
        """Notify of the end of a message."""
        self._tracer.leave(self._frames.pop(), computation)

    def around(self, plain: Any, code: int) -> Callable[..., None]:
        """Run an instruction with notifications. An undefined one is one that fails."""
        operation = plain.opcodes.get(code) or InvalidOpcode(code)
        undefined = "INVALID" if code == 0xFE else f"opcode {code:#x} not defined"
        mnemonic = plain.mnemonics.get(code, undefined)
        mnemonic = _RENAMED.get(mnemonic, mnemonic)
        target_at = 1 if mnemonic in CALLS else -1
        opens = mnemonic in CALLS or mnemonic in CREATES

        def run(computation: Any) -> None:
            tracer = self._tracer
            if not len(computation.code):  # in py-evm an account without code runs one STOP
                operation(computation=computation)
                return
            computation.asked = 0
            tracer.before(computation, mnemonic)
            wanted = computation.stack_words[::-1][:7] if opens else ()
            target = wanted[target_at] if 0 <= target_at < len(wanted) else 0
            self._running.append((mnemonic, target))
            entered = self._entered
            try:
                operation(computation=computation)
                if opens and self._entered == entered:
                    self._tell_attempt(computation, mnemonic, wanted)
            except Halt:
                tracer.after(computation, None)
                raise
            except Exception as error:
                tracer.after(computation, error)
                raise
            else:
                tracer.after(computation, None)
            finally:
                self._running.pop()

        return run

    def _tell_attempt(self, computation: Any, kind: str, words: Any) -> None:
        """Notify of an instruction that opened no frame and did not fail."""
        own = computation.msg.storage_address
        state = computation.state
        if kind in CREATES:
            value, start, size = words[:3]
            gas = computation.get_gas_remaining()
            target, data_at = b"", (start, size)
        else:
            gas = computation.handed_back
            value = words[2] if kind in ("CALL", "CALLCODE") else 0
            data_at = (words[3], words[4]) if kind in ("CALL", "CALLCODE") else (words[2], words[3])
            target = words[1].to_bytes(32, "big")[12:]
            if kind == "DELEGATECALL":
                value = computation.msg.value
        used = 0
        if computation.msg.depth + 1 > _MAX_DEPTH:
            error = "max call depth exceeded"
        elif state.get_balance(own) < value and kind not in ("DELEGATECALL", "STATICCALL"):
            error = "insufficient balance for transfer"
        elif state.get_nonce(own) >= _MAX_NONCE:
            error = "nonce uint64 overflow"
        else:
            error, used = "contract address collision", computation.last_asked
            gas = used
        if kind in CREATES and not used:
            gas -= gas // 64
        octets = bytes(computation.memory_read_bytes(*data_at))
        frame = Frame(kind, own, target, own, gas=gas, input=octets, value=value)
        self._tracer.fail(Attempt(frame, error, used))

"""geth's callTracer (the tree of calls, without instructions) and 4byteTracer."""

from __future__ import annotations

from typing import Any

from npipe.ethereum.errors import revert_reason
from npipe.ethereum.evm.execution import describe
from npipe.ethereum.tracing.watching import CALLS, CREATES, Attempt, Frame, Tracer
from npipe.ethereum.values.types import data, quantity, word

__all__ = ["CallTracer", "FourByteTracer"]

JSON = dict[str, Any]
_REVERTED = "execution reverted"


class CallTracer(Tracer):
    """Makes an object for each frame, with those of its children in ``calls``."""

    def __init__(self, *, only_top: bool = False, with_logs: bool = False) -> None:
        self.top: JSON = {}
        self._only_top, self._with_logs = only_top, with_logs
        self._open: list[JSON] = []

    def enter(self, frame: Frame) -> None:
        """Begin an object, in that of the calling frame."""
        shape = _begun(frame)
        if not self._open:
            self.top = shape
        elif not self._only_top:
            self._open[-1].setdefault("calls", []).append(shape)
        self._open.append(shape)

    def leave(self, frame: Frame, computation: Any) -> None:
        """Add the result of the frame."""
        shape = self._open.pop()
        error = describe(computation.error) if computation.is_error else ""
        _end(shape, computation.get_gas_used(), bytes(computation.output), error)
        if error:
            _drop_logs(shape)

    def fail(self, attempt: Attempt) -> None:
        """Add an object for a frame that could not begin."""
        if not self._only_top:
            shape = _begun(attempt.frame)
            _end(shape, attempt.gas_used, b"", attempt.error)
            self._open[-1].setdefault("calls", []).append(shape)

    def before(self, computation: Any, mnemonic: str) -> None:
        """Keep the balance that SELFDESTRUCT is about to send, or the data of a log."""
        if mnemonic == "SELFDESTRUCT" and computation.stack_size:
            own = computation.msg.storage_address
            target = computation.stack_word(0).to_bytes(32, "big")[12:]
            balance = computation.state.get_balance(own)
            self._sent = Frame(mnemonic, own, target, own, value=balance)

    def after(self, computation: Any, error: Exception | None) -> None:
        """Add a log to its frame. SELFDESTRUCT counts as a call that sends the whole balance."""
        if error is not None:
            return
        code = computation.code.last
        if code == 0xFF and not self._only_top:
            self._open[-1].setdefault("calls", []).append(_begun(self._sent))
        if self._with_logs and 0xA0 <= code <= 0xA4 and not (self._only_top and self._open[1:]):
            _, address, topics, payload = computation.own_logs[-1]
            shape = self._open[-1]
            shape.setdefault("logs", []).append(
                {
                    "address": data(address),
                    "topics": [word(topic) for topic in topics],
                    "data": data(payload),
                    "position": quantity(len(shape.get("calls", ()))),
                }
            )


def _begun(frame: Frame) -> JSON:
    shape = {
        "type": frame.kind,
        "from": data(frame.origin),
        "to": data(frame.target),
        "gas": quantity(frame.gas),
        "gasUsed": "0x0",
        "input": data(frame.input),
    }
    if frame.kind != "STATICCALL":
        shape["value"] = quantity(frame.value)
    return shape


def _end(shape: JSON, gas_used: int, output: bytes, error: str) -> None:
    shape["gasUsed"] = quantity(gas_used)
    if output and error in ("", _REVERTED):
        shape["output"] = data(output)
    if not error:
        return
    shape["error"] = error
    if shape["type"] in CREATES:
        del shape["to"]
    if error == _REVERTED and (reason := revert_reason(output)):
        shape["revertReason"] = reason


def _drop_logs(shape: JSON) -> None:
    """Remove the logs of a failed frame and its children."""
    waiting = [shape]
    while waiting:
        each = waiting.pop()
        each.pop("logs", None)
        waiting.extend(each.get("calls", ()))


class FourByteTracer(Tracer):
    """Counts calls by selector and size of the arguments."""

    def __init__(self, precompiles: set[bytes]) -> None:
        self.counts: dict[str, int] = {}
        self._precompiles = precompiles

    def enter(self, frame: Frame) -> None:
        """Count a call, unless it is one of a precompile."""
        called = frame.input
        if frame.kind in CALLS and len(called) >= 4 and frame.target not in self._precompiles:
            name = f"{data(called[:4])}-{len(called) - 4}"
            self.counts[name] = self.counts.get(name, 0) + 1

    def fail(self, attempt: Attempt) -> None:
        """Count a call that could not begin, as geth does."""
        self.enter(attempt.frame)

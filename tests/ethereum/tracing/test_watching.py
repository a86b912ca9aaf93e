"""The notifications of a tracer, and their order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.contracts import ANSWER, assemble

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from npipe.ethereum.evm.execution import Message, execute
from npipe.ethereum.tracing.watching import Attempt, Frame, Tracer, traced

Deploy = Callable[[bytes], str]


class Told(Tracer):
    """Writes down everything that it is notified of."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def enter(self, frame: Frame) -> None:
        self.lines.append(f"enter {frame.kind}")

    def leave(self, frame: Frame, computation: Any) -> None:
        self.lines.append(f"leave {frame.kind}")

    def fail(self, attempt: Attempt) -> None:
        self.lines.append(f"fail {attempt.frame.kind}: {attempt.error}")

    def before(self, computation: Any, mnemonic: str) -> None:
        self.lines.append(mnemonic)

    def after(self, computation: Any, error: Exception | None) -> None:
        self.lines.append("." if error is None else type(error).__name__)


def lines(service: Any, address: str) -> list[str]:
    """What a tracer is told of a call of a contract, without the instructions that push."""
    state, tracer = service.node.chain.state(), Told()
    plain = state.computation_class
    state.computation_class = traced(tracer, plain)
    execute(state, Message(sender=bytes(20), to=bytes.fromhex(address[2:]), gas=1_000_000))
    assert plain.watch is None
    return " ".join(tracer.lines).replace("PUSH1 . ", "").replace("PUSH20 . ", "").split(" ")


def test_a_frame_is_inside_the_instruction_that_opens_it(service: Any, deploy: Deploy) -> None:
    callee = deploy(ANSWER)
    caller = deploy(assemble(f"0x00 0x00 0x00 0x00 0x00 {callee} GAS CALL STOP"))
    assert lines(service, caller) == [
        *("enter", "CALL", "GAS", ".", "CALL"),
        *("enter", "CALL", "MSTORE", ".", "RETURN", ".", "leave", "CALL"),
        *(".", "STOP", ".", "leave", "CALL"),
    ]


def test_a_frame_that_cannot_begin_is_told_of(service: Any, deploy: Deploy) -> None:
    poor = deploy(assemble("0x00 0x00 0x00 0x00 0x01 0x09 GAS CALL STOP"))
    told = " ".join(lines(service, poor))
    assert "CALL fail CALL: insufficient balance for transfer . STOP" in told


def test_an_instruction_that_fails_is_told_of_with_its_error(service: Any, deploy: Deploy) -> None:
    broken = deploy(assemble("ADD"))
    assert lines(service, broken) == ["enter", "CALL", "ADD", "InsufficientStack", "leave", "CALL"]

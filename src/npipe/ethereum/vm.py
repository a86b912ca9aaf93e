"""py-evm's machine, with the two things changed that a development chain needs otherwise.

A state is opened for every call here, so opening one must not write; and a call that somebody
makes must end in time, for all others wait for the same thread. Gas does not see to that: 30
million of it are some ten seconds of an EVM in Python.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState

from .errors import ChainError

__all__ = ["TIMEOUT", "Computation", "Machine", "State"]

TIMEOUT = 5.0  # seconds that a call may run, as in geth; mining knows no such limit
_JUMP, _JUMPI = 0x56, 0x57


def _timed(operation: Callable[..., None]) -> Callable[..., None]:
    """The instruction, which first looks at the clock. Whatever runs long has to jump."""

    def run(computation: Any) -> None:
        if time.monotonic() > computation.state.deadline:
            raise ChainError(f"execution aborted (timeout = {TIMEOUT:g}s)")
        operation(computation=computation)

    run.mnemonic = operation.mnemonic  # type: ignore[attr-defined]
    return run


class Computation(PragueComputation):
    """One frame of the EVM. Raises ChainError past the deadline of its state."""

    opcodes = {  # noqa: RUF012 - py-evm's own way of saying it
        **PragueComputation.opcodes,
        _JUMP: _timed(PragueComputation.opcodes[_JUMP]),
        _JUMPI: _timed(PragueComputation.opcodes[_JUMPI]),
    }


class State(PragueState):
    """The state after a block. ``deadline``: of what runs on it, by time.monotonic()."""

    computation_class = Computation
    deadline = math.inf

    def set_system_contracts(self) -> None:
        """Nothing: py-evm would write them again each time a state is opened."""


class Machine(PragueVM):
    """The machine of one block."""

    _state_class = State

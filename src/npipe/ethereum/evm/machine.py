"""py-evm's machine, with what a development chain needs otherwise.

A state is opened for every call here, so opening one must not write. A call that somebody makes
must end in time, for all others wait for the same thread; gas does not see to that: 30 million of
it are some ten seconds of an EVM in Python. And 1024 calls within calls must not be too deep for
Python.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.vm.forks.frontier.state import FrontierTransactionExecutor
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.state import PragueState, PragueTransactionExecutor

from npipe.ethereum.errors import ChainError

__all__ = ["TIMEOUT", "Computation", "Executor", "Machine", "State"]

TIMEOUT = 5.0  # seconds that a call may run, as in geth; mining knows no such limit
_JUMP, _JUMPI = 0x56, 0x57
# One of them (SELFDESTRUCT) is wrapped into a Python warning each time it runs.
_OPERATIONS = {
    code: getattr(operation, "__wrapped__", operation)
    for code, operation in PragueComputation.opcodes.items()
}


def _timed(operation: Callable[..., None]) -> Callable[..., None]:
    """The instruction, which first looks at the clock. Whatever runs long has to jump."""

    def run(computation: Any) -> None:
        if time.monotonic() > computation.state.deadline:
            raise ChainError(f"execution aborted (timeout = {TIMEOUT:g}s)")
        operation(computation=computation)

    return run


class _Quiet:
    """In place of a logger: what py-evm says of each instruction, nobody could read."""

    show_debug2 = False

    def debug2(self, *_: object) -> None:
        pass


class Computation(PragueComputation):
    """One frame of the EVM. Raises ChainError past the deadline of its state."""

    logger = _Quiet()
    mnemonics = {code: operation.mnemonic for code, operation in _OPERATIONS.items()}  # noqa: RUF012
    # The methods, not the objects that have them: to call an object is a C call in between, and
    # Python 3.12 has no more than 1500 of these on a stack. The EVM wants 1024 calls, of 3 each.
    opcodes = {code: operation.__call__ for code, operation in _OPERATIONS.items()}  # noqa: RUF012
    opcodes |= {_JUMP: _timed(opcodes[_JUMP]), _JUMPI: _timed(opcodes[_JUMPI])}

    # What the frames add up to. py-evm asks each frame to ask its children; at a depth of 1024
    # that is more recursion than Python 3.12 has.

    def get_gas_refund(self) -> int:
        """The gas that this frame and those under it give back at the end."""
        failed = sum(child.msg.refund for frame in self._good() for child in frame._failed())
        good = sum(frame.msg.refund + frame._gas_meter.gas_refunded for frame in self._good())
        return (self.msg.refund if self.is_error else good) + failed

    def get_accounts_for_deletion(self) -> list[bytes]:
        """The contracts that destroyed themselves, and were not brought back by a failure."""
        return list({account for frame in self._good() for account in frame.accounts_to_delete})

    def get_self_destruct_beneficiaries(self) -> list[bytes]:
        """Who was given the money of those."""
        return list({account for frame in self._good() for account in frame.beneficiaries})

    def get_raw_log_entries(self) -> tuple[Any, ...]:
        """The logs, in the order in which they were written."""
        return tuple(sorted(entry for frame in self._good() for entry in frame._log_entries))

    def frames(self) -> Iterator[tuple[Any, bool]]:
        """This frame and all under it, each with whether it or one above it failed."""
        waiting = [(self, self.is_error)]
        while waiting:
            frame, failed = waiting.pop()
            yield frame, failed
            waiting.extend((child, failed or child.is_error) for child in frame.children)

    def _good(self) -> Iterator[Any]:
        return (frame for frame, failed in self.frames() if not failed)

    def _failed(self) -> Iterator[Any]:
        return (child for child in self.children if child.is_error)


class Executor(PragueTransactionExecutor):
    """Runs a transaction on a state."""

    def finalize_computation(self, transaction: Any, computation: Any) -> Any:
        """Pay, refund, and delete what is to be deleted (EIP-161's empty accounts included).

        As py-evm does, without its recursion. Its exception for the precompile 3, which a failed
        call may touch, is for one block of 2016.
        """
        FrontierTransactionExecutor.finalize_computation(self, transaction, computation)
        state = self.vm_state
        touched = {state.coinbase}
        for frame, failed in computation.frames():
            if not failed:
                touched.update(frame.beneficiaries)
                touched.add(frame.msg.to)
        for account in touched - {CREATE_CONTRACT_ADDRESS}:
            if state.account_exists(account) and state.account_is_empty(account):
                state.delete_account(account)
        return computation


class State(PragueState):
    """The state after a block. ``deadline``: of what runs on it, by time.monotonic()."""

    computation_class = Computation
    transaction_executor_class = Executor
    deadline = math.inf
    pretended_blob_base_fee: int | None = None

    @property
    def blob_base_fee(self) -> int:
        """The price of a unit of blob gas, or what a caller pretends that it is."""
        if self.pretended_blob_base_fee is not None:
            return self.pretended_blob_base_fee
        return int(super().blob_base_fee)

    def set_system_contracts(self) -> None:
        """Nothing: py-evm would write them again each time a state is opened."""


class Machine(PragueVM):
    """The machine of one block."""

    _state_class = State

"""py-evm's machine, changed for a development chain.

Every call opens a state, so opening one must not write. A call must end in time, and gas does not
ensure this: 30 million gas take about ten seconds in an EVM in Python. 1024 nested calls must not
exceed Python's recursion limit. A failed creation gets a distinct reason, and a message with too
little gas for its size is invalid, not failed.

``adapt`` changes one of py-evm's forks; ``Machine`` is that of Prague.
"""

from __future__ import annotations

import functools
from typing import Any

from eth import constants
from eth.vm.forks.frontier.state import FrontierTransactionExecutor
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.spurious_dragon.state import SpuriousDragonTransactionExecutor
from eth_utils import ValidationError

from npipe.ethereum.evm import gas
from npipe.ethereum.evm.blobs import PRAGUE, BlobSchedule
from npipe.ethereum.evm.frame import FrameMixin, FrontierFrameMixin
from npipe.ethereum.evm.precompiles import with_clock
from npipe.ethereum.evm.state import OpenState

__all__ = ["Computation", "Executor", "Machine", "State", "adapt"]


class _ExecutorMixin:
    """Runs a transaction on a state; mixed into a fork's executor."""

    vm_state: Any

    def validate_transaction(self, transaction: Any) -> None:
        """Raise ValidationError for a transaction that no block may contain."""
        super().validate_transaction(transaction)  # type: ignore[misc]
        if transaction.gas < gas.minimum_gas(transaction, self.vm_state.rules):
            raise ValidationError("the gas is less than the transaction's size costs")

    def build_computation(self, message: Any, transaction: Any) -> Any:
        """Run a message, and pass its first frame to the tracer."""
        watch = self.vm_state.computation_class.watch
        if watch is None:
            return super().build_computation(message, transaction)  # type: ignore[misc]
        watch.enter(message, None, self.vm_state)
        computation = super().build_computation(message, transaction)  # type: ignore[misc]
        watch.leave(computation)
        return computation


class _ClearingExecutorMixin(_ExecutorMixin):
    """``_ExecutorMixin`` from Spurious Dragon on: empty accounts are deleted (EIP-161)."""

    def finalize_computation(self, transaction: Any, computation: Any) -> Any:
        """Pay the fees and refunds, and delete accounts.

        As in py-evm, without its recursion. Its exception for the precompile 3, which a failed call
        may touch, exists for one block of 2016.
        """
        FrontierTransactionExecutor.finalize_computation(self, transaction, computation)
        state = self.vm_state
        touched = {state.coinbase}
        for frame, failed in computation.frames():
            if not failed:
                touched.update(frame.beneficiaries)
                touched.add(frame.msg.to)
        for account in touched - {constants.CREATE_CONTRACT_ADDRESS}:
            if state.account_exists(account) and state.account_is_empty(account):
                state.delete_account(account)
        return computation


@functools.cache
def adapt(vm: Any, schedule: BlobSchedule = PRAGUE) -> Any:
    """Return the machine of a fork of py-evm with the changes of this module."""
    state = vm._state_class
    frame, executor = state.computation_class, state.transaction_executor_class
    clears = issubclass(executor, SpuriousDragonTransactionExecutor)
    operations = {
        # py-evm wraps SELFDESTRUCT in a Python warning for each execution.
        code: getattr(operation, "__wrapped__", operation)
        for code, operation in frame.opcodes.items()
    }
    own_frame: Any = type(
        "Computation",
        (FrameMixin if clears else FrontierFrameMixin, frame),
        {
            "mnemonics": {code: operation.mnemonic for code, operation in operations.items()},
            # The methods, not their objects: calling an object is a C call in
            # between, and Python 3.12 has no more than 1500 of these on a stack. The EVM wants
            # 1024 calls, of 3 each.
            "opcodes": {code: operation.__call__ for code, operation in operations.items()},
            "_precompiles": with_clock(frame._precompiles),
            "watch": None,
        },
    )
    own_executor = type(
        "Executor", (_ClearingExecutorMixin if clears else _ExecutorMixin, executor), {}
    )
    own_state = type(
        "State",
        (OpenState, state),
        {
            "computation_class": own_frame,
            "transaction_executor_class": own_executor,
            "blob_schedule": schedule,
            "rules": gas.rules_of(vm),
            "precompiles": own_frame._precompiles,
        },
    )
    return type("Machine", (vm,), {"_state_class": own_state})


Machine: Any = adapt(PragueVM)
State: Any = Machine._state_class
Computation: Any = State.computation_class
Executor: Any = State.transaction_executor_class

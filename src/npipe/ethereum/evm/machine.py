"""py-evm's machine, with what a development chain needs otherwise.

A state is opened for every call here, so opening one must not write. A call must end in time, and
gas does not see to that: 30 million of it are some ten seconds of an EVM in Python. 1024 calls
within calls must not be too deep for Python. A failed creation has its own reason, and a message
with too little gas for its own size is invalid, not a failure.

``adapt`` makes such a machine of one of py-evm's forks; ``Machine`` is that of Prague.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

from eth import constants
from eth.exceptions import InsufficientStack, OutOfGas, VMError
from eth.vm.forks.frontier.state import FrontierTransactionExecutor
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.spurious_dragon.constants import EIP170_CODE_SIZE_LIMIT
from eth.vm.forks.spurious_dragon.state import SpuriousDragonTransactionExecutor
from eth_utils import ValidationError

from npipe.ethereum.errors import ChainError
from npipe.ethereum.evm import gas
from npipe.ethereum.evm.blobs import PRAGUE, BlobSchedule
from npipe.ethereum.evm.code import Code
from npipe.ethereum.evm.errors import CodeTooLarge, NoGasForCode
from npipe.ethereum.evm.precompiles import with_clock
from npipe.ethereum.evm.stack import underflow

__all__ = ["TIMEOUT", "Computation", "Executor", "Machine", "State", "adapt"]

TIMEOUT = 5.0  # seconds that a call may run, as in geth; mining knows no such limit


class _Quiet:
    """Null logger: py-evm's per-instruction debug output is discarded."""

    show_debug2 = False

    def debug2(self, *_: object) -> None:
        pass


class _Frame:
    """One frame of the EVM, mixed into a fork's computation. Raises ChainError past the deadline.

    What the frames add up to (refunds, logs, deletions) py-evm asks each frame to ask its children;
    at a depth of 1024 that is more recursion than Python 3.12 has, so it is done by a loop here.
    """

    logger = _Quiet()
    mnemonics: dict[int, str]
    children: list[Any]
    msg: Any
    is_error: bool
    state: Any

    def __init__(self, state: Any, message: Any, transaction_context: Any) -> None:
        base: Any = super()
        base.__init__(state, message, transaction_context)
        self.code = Code(message.code, state.tick)

    @property
    def precompiles(self) -> Mapping[bytes, Any]:
        """The precompiles of the fork, less those that a call has moved or replaced."""
        return self.state.precompiles

    # -- what is inside, for those who watch ------------------------------------------------------

    @property
    def stack_words(self) -> list[int]:
        """The stack from the bottom to the top."""
        return [_number(value) for value in self._stack.values]  # type: ignore[attr-defined]

    def stack_word(self, depth: int) -> int:
        """The word at a depth, 0 being the top. Raises IndexError where there is none."""
        return _number(self._stack.values[-1 - depth])  # type: ignore[attr-defined]

    @property
    def stack_size(self) -> int:
        return len(self._stack.values)  # type: ignore[attr-defined]

    @property
    def memory_bytes(self) -> bytes:
        return bytes(self._memory._bytes)  # type: ignore[attr-defined]

    @property
    def own_logs(self) -> list[tuple[int, bytes, tuple[int, ...], bytes]]:
        """The logs of this frame alone: number in the transaction, address, topics, data."""
        return self._log_entries  # type: ignore[attr-defined]

    # -- what the frames add up to ----------------------------------------------------------------

    def get_gas_refund(self) -> int:
        """The gas that this frame and those under it give back at the end."""
        failed = sum(child.msg.refund for frame in self._good() for child in frame._failed())
        good = sum(frame.msg.refund + frame._gas_meter.gas_refunded for frame in self._good())
        return (self.msg.refund if self.is_error else good) + failed

    def get_accounts_for_deletion(self) -> list[bytes]:
        """The contracts that destroyed themselves, and were not brought back by a failure."""
        return list({account for frame in self._good() for account in frame.accounts_to_delete})

    def get_self_destruct_beneficiaries(self) -> list[bytes]:
        """The accounts that were given the balances of those."""
        return list({account for frame in self._good() for account in frame.beneficiaries})

    def get_raw_log_entries(self) -> tuple[Any, ...]:
        """The logs, in the order in which they were written."""
        return tuple(sorted(entry for frame in self._good() for entry in frame._log_entries))

    def frames(self) -> Iterator[tuple[Any, bool]]:
        """This frame and all under it, each with whether it or one above it failed."""
        waiting: list[tuple[Any, bool]] = [(self, self.is_error)]
        while waiting:
            frame, failed = waiting.pop()
            yield frame, failed
            waiting.extend((child, failed or child.is_error) for child in frame.children)

    def _good(self) -> Iterator[Any]:
        return (frame for frame, failed in self.frames() if not failed)

    def _failed(self) -> Iterator[Any]:
        return (child for child in self.children if child.is_error)

    def apply_child_computation(self, child_msg: Any) -> Any:
        """Run a frame under this one, and keep of it what the end of the transaction needs."""
        child = super().apply_child_computation(child_msg)  # type: ignore[misc]
        # A call may make a hundred thousand frames: their memory is not needed any more.
        child._memory = child._stack = child.code = None
        return child

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        """End the frame; a lack of words on the stack says how many there were."""
        base: Any = super()
        if isinstance(error, InsufficientStack):
            stack: Any = self._stack  # type: ignore[attr-defined]
            error = underflow(self.code.last, len(stack.values))
        return base.__exit__(kind, error, trace)

    # -- creations --------------------------------------------------------------------------------

    @classmethod
    def apply_create_message(
        cls, state: Any, message: Any, transaction_context: Any, parent_computation: Any = None
    ) -> Any:
        """Run a creation and store the code that it returns.

        As py-evm does from Spurious Dragon on (EIP-161, EIP-170); here the error says which of the
        rules about the code was broken.
        """
        snapshot = state.snapshot()
        state.increment_nonce(message.storage_address)
        cls.validate_create_message(message)  # type: ignore[attr-defined]
        computation = cls.apply_message(  # type: ignore[attr-defined]
            state, message, transaction_context, parent_computation=parent_computation
        )
        code = computation.output
        if not computation.is_error and code:
            try:
                cls._pay_for_code(computation, code)
                state.set_code(message.storage_address, code)
            except VMError as error:
                computation.error = error
        if computation.is_error:
            state.revert(snapshot)
        else:
            state.commit(snapshot)
        return computation

    @classmethod
    def _pay_for_code(cls, computation: Any, code: bytes) -> None:
        if len(code) > EIP170_CODE_SIZE_LIMIT:
            raise CodeTooLarge(f"{len(code)} bytes of code")
        cls.validate_contract_code(code)  # type: ignore[attr-defined]
        try:
            computation.consume_gas(len(code) * constants.GAS_CODEDEPOSIT, "contract code")
        except OutOfGas as error:
            raise NoGasForCode(str(error)) from error


class _OldFrame(_Frame):
    """A frame before Spurious Dragon: creations as py-evm has them."""

    @classmethod
    def apply_create_message(cls, *args: Any, **kwargs: Any) -> Any:
        """Run a creation."""
        return super(_Frame, cls).apply_create_message(*args, **kwargs)  # type: ignore[misc]


class _Run:
    """Runs a transaction on a state, mixed into a fork's executor."""

    vm_state: Any

    def validate_transaction(self, transaction: Any) -> None:
        """Raise ValidationError for a transaction that no block may contain."""
        super().validate_transaction(transaction)  # type: ignore[misc]
        if transaction.gas < gas.minimum_gas(transaction, self.vm_state.rules):
            raise ValidationError("the gas is less than the transaction's size costs")

    def build_computation(self, message: Any, transaction: Any) -> Any:
        """Run a message, a tracer being told of its first frame."""
        watch = self.vm_state.computation_class.watch
        if watch is None:
            return super().build_computation(message, transaction)  # type: ignore[misc]
        watch.enter(message, None, self.vm_state)
        computation = super().build_computation(message, transaction)  # type: ignore[misc]
        watch.leave(computation)
        return computation


class _Clear(_Run):
    """As ``_Run``, from Spurious Dragon on: accounts that are left empty are deleted (EIP-161)."""

    def finalize_computation(self, transaction: Any, computation: Any) -> Any:
        """Pay, refund, and delete what is to be deleted.

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
        for account in touched - {constants.CREATE_CONTRACT_ADDRESS}:
            if state.account_exists(account) and state.account_is_empty(account):
                state.delete_account(account)
        return computation


class _OpenState:
    """The state after a block, mixed into a fork's state.

    ``deadline`` is that of what runs on it, by time.monotonic(). ``ancestor_base`` is the number
    of the block whose ancestors are known, where the number that instructions see is pretended.
    """

    deadline = math.inf
    pretended_blob_base_fee: int | None = None
    ancestor_base: int | None = None
    blob_schedule: BlobSchedule = PRAGUE
    rules: gas.Rules
    execution_context: Any
    precompiles: Mapping[bytes, Any]

    def tick(self) -> None:
        """Raise ChainError past the deadline."""
        if time.monotonic() > self.deadline:
            raise ChainError(f"execution aborted (timeout = {TIMEOUT:g}s)")

    @property
    def blob_base_fee(self) -> int:
        """The price of a unit of blob gas, or what a caller pretends that it is."""
        if self.pretended_blob_base_fee is not None:
            return self.pretended_blob_base_fee
        return self.blob_schedule.base_fee(self.execution_context.excess_blob_gas)

    def get_ancestor_hash(self, block_number: int) -> bytes:
        """The hash of one of the last 256 blocks before the number that is seen; else nothing."""
        context = self.execution_context
        known = context.block_number if self.ancestor_base is None else self.ancestor_base
        if not max(0, context.block_number - 256) <= block_number < context.block_number:
            return b""
        for depth, found in enumerate(context.prev_hashes, 1):
            if known - depth == block_number:
                return bytes(found)
        return b""

    def increment_nonce(self, address: bytes) -> None:
        """Count a nonce on, beyond 2**64 - 1 from 0, as geth's 64 bits do in a call."""
        state: Any = self
        state.set_nonce(address, (state.get_nonce(address) + 1) % 2**64)

    def delta_balance(self, address: bytes, delta: int) -> None:
        """Change a balance; pretended ones can add up to more than 256 bits, which wraps."""
        state: Any = self
        balance = state.get_balance(address) + delta
        state.set_balance(address, balance if balance < 0 else balance % 2**256)

    def set_system_contracts(self) -> None:
        """Nothing: py-evm would write them again each time a state is opened."""

    # -- what a call pretends ---------------------------------------------------------------------

    def pretend_block(
        self,
        *,
        number: int | None = None,
        timestamp: int | None = None,
        gas_limit: int | None = None,
        base_fee: int | None = None,
        coinbase: bytes | None = None,
        mix_hash: bytes | None = None,
        blob_base_fee: int | None = None,
    ) -> None:
        """Change what the instructions that ask about the block will see."""
        context = self.execution_context  # py-evm has no other way in
        if number is not None:
            self.ancestor_base = context.block_number
        for name, value in (
            ("_block_number", number),
            ("_timestamp", timestamp),
            ("_gas_limit", gas_limit),
            ("_base_fee_per_gas", base_fee),
            ("_coinbase", coinbase),
            ("_mix_hash", mix_hash),
        ):
            if value is not None:
                setattr(context, name, value)
        if blob_base_fee is not None:
            self.pretended_blob_base_fee = blob_base_fee

    def replace_precompile(self, address: bytes, target: bytes | None = None) -> None:
        """Let a precompile be at another address, or (None) nowhere: code may take its place.

        Raises KeyError where there is none at ``address``.
        """
        moved = dict(self.precompiles)
        precompile = moved.pop(address)
        if target is not None:
            moved[target] = precompile
        self.precompiles = moved


@functools.cache
def adapt(vm: Any, schedule: BlobSchedule = PRAGUE) -> Any:
    """Return the machine of a fork of py-evm, changed as this module says."""
    state = vm._state_class
    frame, executor = state.computation_class, state.transaction_executor_class
    clears = issubclass(executor, SpuriousDragonTransactionExecutor)
    operations = {
        # SELFDESTRUCT is wrapped into a Python warning each time it runs.
        code: getattr(operation, "__wrapped__", operation)
        for code, operation in frame.opcodes.items()
    }
    own_frame: Any = type(
        "Computation",
        (_Frame if clears else _OldFrame, frame),
        {
            "mnemonics": {code: operation.mnemonic for code, operation in operations.items()},
            # The methods, not the objects that have them: to call an object is a C call in
            # between, and Python 3.12 has no more than 1500 of these on a stack. The EVM wants
            # 1024 calls, of 3 each.
            "opcodes": {code: operation.__call__ for code, operation in operations.items()},
            "_precompiles": with_clock(frame._precompiles),
            "watch": None,
        },
    )
    own_executor = type("Executor", (_Clear if clears else _Run, executor), {})
    own_state = type(
        "State",
        (_OpenState, state),
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


def _number(value: Any) -> int:
    """A word of py-evm's stack, which holds numbers and bytes as they came."""
    item = value[1] if isinstance(value, tuple) else value
    return item if isinstance(item, int) else int.from_bytes(item, "big")

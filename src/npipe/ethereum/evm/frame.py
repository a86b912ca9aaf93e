"""One frame of the EVM: py-evm's computation, without its recursion and with distinct errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eth import constants
from eth.exceptions import InsufficientStack, OutOfGas, VMError
from eth.vm.forks.spurious_dragon.constants import EIP170_CODE_SIZE_LIMIT

from npipe.ethereum.evm.code import Code
from npipe.ethereum.evm.errors import CodeTooLarge, NoGasForCode
from npipe.ethereum.evm.stack import underflow

__all__ = ["FrameMixin", "FrontierFrameMixin"]


class _Quiet:
    """Null logger: py-evm's per-instruction debug output is discarded."""

    show_debug2 = False

    def debug2(self, *_: object) -> None:
        pass


class FrameMixin:
    """One frame of the EVM, mixed into a fork's computation. Raises ChainError past the deadline.

    py-evm collects refunds, logs and deletions by recursion over the child frames; at a depth of
    1024 that exceeds the recursion limit of Python 3.12, so it is a loop here.
    """

    logger: _Quiet = _Quiet()
    mnemonics: dict[int, str]
    children: list[Any]
    msg: Any
    is_error: bool
    state: Any

    def __init__(self, state: Any, message: Any, transaction_context: Any) -> None:
        base: Any = super()
        base.__init__(state, message, transaction_context)
        self.code: Code = Code(message.code, state.tick)

    @property
    def precompiles(self) -> Mapping[bytes, Any]:
        """Return the precompiles of the fork, without those that overrides moved or replaced."""
        return self.state.precompiles

    # -- for tracers ------------------------------------------------------------------------------

    @property
    def stack_words(self) -> list[int]:
        """Return the stack from the bottom to the top."""
        return [_number(value) for value in self._stack.values]  # type: ignore[attr-defined]

    def stack_word(self, depth: int) -> int:
        """Return the word at a depth; 0 is the top. Raises IndexError if there is none."""
        return _number(self._stack.values[-1 - depth])  # type: ignore[attr-defined]

    @property
    def stack_size(self) -> int:
        return len(self._stack.values)  # type: ignore[attr-defined]

    @property
    def memory_bytes(self) -> bytes:
        return bytes(self._memory._bytes)  # type: ignore[attr-defined]

    @property
    def own_logs(self) -> list[tuple[int, bytes, tuple[int, ...], bytes]]:
        """Return the logs of this frame alone: number in the transaction, address, topics, data."""
        return self._log_entries  # type: ignore[attr-defined]

    # -- sums over the frames ----------------------------------------------------------------------

    def get_gas_refund(self) -> int:
        """Return the gas that this frame and its children refund at the end."""
        failed = sum(child.msg.refund for frame in self._good() for child in frame._failed())
        good = sum(frame.msg.refund + frame._gas_meter.gas_refunded for frame in self._good())
        return (self.msg.refund if self.is_error else good) + failed

    def get_accounts_for_deletion(self) -> list[bytes]:
        """Return the contracts that destroyed themselves in frames that did not fail."""
        return list({account for frame in self._good() for account in frame.accounts_to_delete})

    def get_self_destruct_beneficiaries(self) -> list[bytes]:
        """Return the accounts that received the balances of those contracts."""
        return list({account for frame in self._good() for account in frame.beneficiaries})

    def get_raw_log_entries(self) -> tuple[Any, ...]:
        """Return the logs in the order in which they were written."""
        return tuple(sorted(entry for frame in self._good() for entry in frame._log_entries))

    def frames(self) -> Iterator[tuple[Any, bool]]:
        """Yield this frame and all under it, each with whether it or one above it failed."""
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
        """Run a child frame, and keep only its results for the end of the transaction."""
        child = super().apply_child_computation(child_msg)  # type: ignore[misc]
        # A call may make a hundred thousand frames: release their memory.
        child._memory = child._stack = child.code = None
        return child

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        """End the frame; a stack underflow gets the number of words that there were."""
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

        The rules are py-evm's from Spurious Dragon on (EIP-161, EIP-170); the error here names the
        rule that the code violated.
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


class FrontierFrameMixin(FrameMixin):
    """A frame before Spurious Dragon, with py-evm's creations."""

    @classmethod
    def apply_create_message(cls, *args: Any, **kwargs: Any) -> Any:
        """Run a creation."""
        return super(FrameMixin, cls).apply_create_message(*args, **kwargs)  # type: ignore[misc]


def _number(value: Any) -> int:
    """Convert a word of py-evm's stack, which has both numbers and bytes, to a number."""
    item = value[1] if isinstance(value, tuple) else value
    return item if isinstance(item, int) else int.from_bytes(item, "big")

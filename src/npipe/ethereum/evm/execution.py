"""Running a message that is in no block: eth_call, eth_estimateGas and the tracers' replays.

geth's rules: the sender's nonce is not looked at, the base fee is 0 for a call that names no price,
and the gas is what was asked for, up to the cap. Errors of the EVM get geth's words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eth import exceptions as evm
from eth.abc import ComputationAPI, StateAPI
from eth.vm.forks.berlin.transactions import calculate_txn_intrinsic_gas_berlin
from eth.vm.forks.prague.constants import PER_EMPTY_ACCOUNT_BASE_COST
from eth_utils import ValidationError

from npipe.ethereum.errors import ChainError, NotRunnable, Reverted
from npipe.ethereum.evm.machine import Executor

__all__ = [
    "MAX_INITCODE",
    "TRANSFER_GAS",
    "Message",
    "Outcome",
    "check",
    "estimate",
    "execute",
    "floor_gas",
    "raise_for",
]

_STIPEND = 2_300
_OPCODE = re.compile("Invalid opcode 0x([0-9a-f]+) ")  # as py-evm says it

TRANSFER_GAS = 21_000
MAX_INITCODE = 49_152  # bytes of code that creates a contract (EIP-3860)


@dataclass(frozen=True)
class Message:
    """A call with every field set. It has the names that py-evm's executor reads."""

    sender: bytes
    to: bytes
    gas: int
    value: int = 0
    data: bytes = b""
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0
    access_list: Sequence[tuple[bytes, Sequence[int]]] = ()
    authorization_list: Sequence[Any] = ()
    blob_versioned_hashes: Sequence[bytes] = ()
    max_fee_per_blob_gas: int = 0
    type_id: int = field(init=False, default=2)

    def __post_init__(self) -> None:
        if self.authorization_list:
            object.__setattr__(self, "type_id", 4)
        elif self.blob_versioned_hashes:
            object.__setattr__(self, "type_id", 3)

    @property
    def intrinsic_gas(self) -> int:
        """The gas that is taken before the first instruction."""
        authorizations = PER_EMPTY_ACCOUNT_BASE_COST * len(self.authorization_list)
        return int(calculate_txn_intrinsic_gas_berlin(self)) + authorizations

    @property
    def minimum_gas(self) -> int:
        """The least gas that such a transaction may offer."""
        return max(self.intrinsic_gas, floor_gas(self.data))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message: gas, output, and the error where it failed."""

    computation: ComputationAPI
    gas_used: int

    @property
    def output(self) -> bytes:
        return bytes(self.computation.output)

    @property
    def error(self) -> Exception | None:
        return self.computation.error if self.computation.is_error else None


def floor_gas(payload: bytes) -> int:
    """The least that a transaction with this call data costs, whatever it does (EIP-7623)."""
    zeros = payload.count(0)
    return TRANSFER_GAS + 10 * (zeros + 4 * (len(payload) - zeros))


def execute(state: StateAPI, message: Message) -> Outcome:
    """Run a message on a state, which keeps the changes.

    Raises NotRunnable where it cannot begin: too little gas, or money that is not there.
    What fails inside is no exception but an outcome with an error.
    """
    _begin(state, message)
    state.lock_changes()
    executor = Executor(state)
    try:
        computation = executor.build_computation(executor.build_evm_message(message), message)
        remaining = computation.get_gas_remaining()
        executor.finalize_computation(message, computation)
    except ValidationError as error:  # pretended balances can add up to more than 256 bits
        raise ChainError(str(error)) from error
    state.clear_transient_storage()
    used = message.gas - remaining
    used -= min(computation.get_gas_refund(), used // 5)
    return Outcome(computation, max(used, floor_gas(message.data)))


def estimate(state_at: Callable[[], StateAPI], message: Message) -> int:
    """The least gas with which the message succeeds, exactly. ``message.gas`` is the most.

    Less is not always enough where more is: contracts keep 1/64 back at each call, and refunds come
    at the end. So: run it with all, then halve the gap between too little and enough.
    Raises Reverted or ChainError as the message fails with all the gas it may have.
    """
    if _is_plain_transfer(state_at, message):
        return TRANSFER_GAS
    if message.gas < message.minimum_gas:
        raise ChainError(f"gas required exceeds allowance ({message.gas})")
    try:
        outcome = execute(state_at(), message)
    except NotRunnable as error:
        raise ChainError(f"failed with {message.gas} gas: {error.message}") from None
    if isinstance(outcome.error, evm.OutOfGas):
        raise ChainError(f"gas required exceeds allowance ({message.gas})")
    raise_for(outcome)
    too_little, enough = max(outcome.gas_used, message.minimum_gas) - 1, message.gas
    # Most need only what they use, or that plus the refund and what calls hold back: try these.
    refund = outcome.computation.get_gas_refund()
    for guess in (too_little + 1, (outcome.gas_used + refund + _STIPEND) * 64 // 63):
        if too_little < guess < enough:
            too_little, enough = _narrow(state_at, message, guess, too_little, enough)
    while too_little + 1 < enough:
        middle = (too_little + enough) // 2
        too_little, enough = _narrow(state_at, message, middle, too_little, enough)
    return enough


def raise_for(outcome: Outcome) -> None:
    """Raise what geth answers for a message that failed; nothing where it did not."""
    error = outcome.error
    if error is None:
        return
    if isinstance(error, evm.Revert):
        raise Reverted(outcome.output)
    raise ChainError(describe(error))


def describe(error: Exception) -> str:
    """An error of py-evm in geth's words."""
    if found := _OPCODE.match(str(error)):
        code = int(found[1], 16)
        return "invalid opcode: " + ("INVALID" if code == 0xFE else f"opcode {code:#x} not defined")
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    return str(error) or type(error).__name__


_WORDS: dict[type[Exception], str] = {
    evm.Revert: "execution reverted",
    evm.OutOfGas: "out of gas",
    evm.InvalidInstruction: "invalid opcode",
    evm.InvalidJumpDestination: "invalid jump destination",
    evm.InsufficientStack: "stack underflow",
    evm.FullStack: "stack limit reached 1024 (1023)",
    evm.WriteProtection: "write protection",
    evm.OutOfBoundsRead: "return data out of bounds",
    evm.ContractCreationCollision: "contract address collision",
    evm.ReservedBytesInCode: "invalid code: must not begin with 0xef",
    evm.InsufficientFunds: "insufficient balance for transfer",
    evm.StackDepthLimit: "max call depth exceeded",
}


def _begin(state: Any, message: Message) -> None:
    """Refuse what cannot be run. A call that names no price sees no base fee either."""
    if message.max_fee_per_gas == 0:
        state.execution_context._base_fee_per_gas = 0
    if message.blob_versioned_hashes and message.max_fee_per_blob_gas == 0:
        state.pretended_blob_base_fee = 0
    check(state, message)


def check(state: StateAPI, message: Message, *, priced: bool = True) -> None:
    """Raise NotRunnable for what cannot be run. ``priced``: it must pay the base fee."""
    base_fee = state.execution_context.base_fee_per_gas if priced else 0
    if message.max_fee_per_gas < message.max_priority_fee_per_gas:
        raise NotRunnable(
            f"max priority fee per gas higher than max fee per gas: address "
            f"0x{message.sender.hex()}, maxPriorityFeePerGas: {message.max_priority_fee_per_gas}, "
            f"maxFeePerGas: {message.max_fee_per_gas}"
        )
    if message.max_fee_per_gas < base_fee:
        raise NotRunnable(
            f"max fee per gas less than block base fee: address 0x{message.sender.hex()}, "
            f"maxFeePerGas: {message.max_fee_per_gas}, baseFee: {base_fee}"
        )
    have = state.get_balance(message.sender)
    want = message.gas * message.max_fee_per_gas + message.value
    if have < want:
        raise NotRunnable(
            "insufficient funds for gas * price + value: "
            f"address 0x{message.sender.hex()} have {have} want {want}"
        )
    if message.gas < message.intrinsic_gas:
        raise NotRunnable(
            f"intrinsic gas too low: have {message.gas}, want {message.intrinsic_gas}"
        )
    if not message.to and len(message.data) > MAX_INITCODE:
        raise NotRunnable(
            f"max initcode size exceeded: code size {len(message.data)} limit {MAX_INITCODE}"
        )
    floor = floor_gas(message.data)
    if message.gas < floor:
        raise NotRunnable(
            f"insufficient gas for floor data gas cost: have {message.gas}, want {floor}"
        )


def _is_plain_transfer(state_at: Callable[[], StateAPI], message: Message) -> bool:
    """Whether this only moves money: known to need 21000 without a search."""
    if message.data or message.access_list or message.authorization_list or not message.to:
        return False
    state = state_at()
    if state.get_code(message.to) or message.to in state.computation_class.get_precompiles():
        return False
    if message.gas < TRANSFER_GAS:
        return False
    try:
        _begin(state, replace(message, gas=TRANSFER_GAS))
    except NotRunnable:
        return False
    return True


def _narrow(
    state_at: Callable[[], StateAPI], message: Message, gas: int, too_little: int, enough: int
) -> tuple[int, int]:
    failed = execute(state_at(), replace(message, gas=gas)).error is not None
    return (gas, enough) if failed else (too_little, gas)

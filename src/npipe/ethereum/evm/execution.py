"""Execution of a message outside of a block: eth_call, eth_estimateGas, replays of tracers.

The rules are geth's: the nonce of the sender is not checked, the base fee is 0 for a call without a
price, and the gas is the requested one, up to the cap. Errors have geth's messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from eth import exceptions as evm
from eth.abc import ComputationAPI
from eth.vm.forks.berlin.transactions import calculate_txn_intrinsic_gas_berlin
from eth.vm.forks.prague.constants import PER_EMPTY_ACCOUNT_BASE_COST

from npipe.ethereum.errors import ChainError, NotRunnable, Reverted
from npipe.ethereum.evm.addresses import checksum
from npipe.ethereum.evm.blobs import GAS_PER_BLOB
from npipe.ethereum.evm.errors import CodeTooLarge, NoGasForCode, StackUnderflow
from npipe.ethereum.evm.gas import MAX_INITCODE, TRANSFER_GAS, floor_gas, intrinsic_gas

__all__ = ["Message", "Outcome", "check", "describe", "estimate", "execute", "raise_for", "run"]

_STIPEND = 2_300
_OPCODE = re.compile("Invalid opcode 0x([0-9a-f]+) ")  # py-evm's message
_MAX_NONCE = 2**64 - 1


@dataclass(frozen=True)
class Message:
    """A call with every field set. The field names are those that py-evm's executor reads."""

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
        """Return py-evm's intrinsic gas, without the price of initialisation code (see ``gas``)."""
        authorizations = PER_EMPTY_ACCOUNT_BASE_COST * len(self.authorization_list)
        return int(calculate_txn_intrinsic_gas_berlin(self)) + authorizations

    @property
    def gas_price(self) -> int:
        """The gas price, for forks before EIP-1559."""
        return self.max_fee_per_gas


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a message: gas used, output, and the error if it failed."""

    computation: ComputationAPI
    gas_used: int
    max_used: int  # the gas used before refunds

    @property
    def output(self) -> bytes:
        return bytes(self.computation.output)

    @property
    def error(self) -> Exception | None:
        return self.computation.error if self.computation.is_error else None


def execute(state: Any, message: Message) -> Outcome:
    """Execute a message on a state, which keeps the changes.

    Raises NotRunnable if it cannot begin: too little gas or balance. A failure during the execution
    is no exception, but an outcome with an error.
    """
    _begin(state, message)
    return run(state, message)


def run(state: Any, message: Any, *, free: bool = False) -> Outcome:
    """Run a message that was checked, or a transaction. ``free``: no fee is paid to the miner."""
    state.lock_changes()
    executor = state.get_transaction_executor()
    computation = executor.build_computation(executor.build_evm_message(message), message)
    remaining = computation.get_gas_remaining()
    if free:  # no fee is paid, so the miner must not be charged the base fee
        base_fee = state.execution_context.base_fee_per_gas
        state.pretend_block(base_fee=0)
    executor.finalize_computation(message, computation)
    if free:
        state.pretend_block(base_fee=base_fee)
    if hasattr(state, "transient_storage"):  # from Cancun on
        state.clear_transient_storage()
    used = message.gas - remaining
    most_used = used
    used -= executor.calculate_gas_refund(computation, used)
    if state.rules.floor:
        floor = floor_gas(message.data)
        used, most_used = max(used, floor), max(most_used, floor)
    return Outcome(computation, used, most_used)


def estimate(state_at: Callable[[], Any], message: Message) -> int:
    """Return the exact minimum of gas with which the message succeeds, up to ``message.gas``.

    The gas used in one execution may not suffice: a call keeps back 1/64 of the gas, and refunds
    are paid at the end. So the message runs with all gas first, then by bisection.

    Raises Reverted or ChainError if the message fails with all the gas.
    """
    if _is_plain_transfer(state_at, message):
        return TRANSFER_GAS
    least = max(intrinsic_gas(message), floor_gas(message.data))
    if message.gas < least:
        raise ChainError(f"gas required exceeds allowance ({message.gas})")
    try:
        outcome = execute(state_at(), message)
    except NotRunnable as error:
        raise ChainError(f"failed with {message.gas} gas: {error.message}") from None
    if type(outcome.error) is evm.OutOfGas:
        raise ChainError(f"gas required exceeds allowance ({message.gas})")
    raise_for(outcome)
    too_little, enough = max(outcome.gas_used, least) - 1, message.gas
    # Most messages need the gas that they use, or that plus the refund and the 1/64: try these.
    refund = outcome.computation.get_gas_refund()
    for guess in (too_little + 1, (outcome.gas_used + refund + _STIPEND) * 64 // 63):
        if too_little < guess < enough:
            too_little, enough = _narrow(state_at, message, guess, too_little, enough)
    while too_little + 1 < enough:
        middle = (too_little + enough) // 2
        too_little, enough = _narrow(state_at, message, middle, too_little, enough)
    return enough


def raise_for(outcome: Outcome) -> None:
    """Raise geth's error for a message that failed; do nothing if it succeeded."""
    error = outcome.error
    if error is None:
        return
    if isinstance(error, evm.Revert):
        raise Reverted(outcome.output)
    raise ChainError(describe(error))


def describe(error: Exception) -> str:
    """Return geth's message for an error of py-evm."""
    if found := _OPCODE.match(str(error)):
        code = int(found[1], 16)
        return "invalid opcode: " + ("INVALID" if code == 0xFE else f"opcode {code:#x} not defined")
    if isinstance(error, StackUnderflow) or type(error) is evm.VMError:
        return str(error)  # of a precompile: it has geth's message already
    if "EIP-2200" in str(error):
        return "out of gas: not enough gas for reentrancy sentry"
    for kind, words in _WORDS.items():
        if isinstance(error, kind):
            return words
    return "execution failed"


_WORDS: dict[type[Exception], str] = {
    evm.Revert: "execution reverted",
    CodeTooLarge: "max code size exceeded",
    NoGasForCode: "contract creation code storage out of gas",
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
    """Check a message, and set the base fee to 0 if it names no price."""
    if message.max_fee_per_gas == 0 and _has_base_fee(state):
        state.pretend_block(base_fee=0)
    if message.blob_versioned_hashes and message.max_fee_per_blob_gas == 0:
        state.pretended_blob_base_fee = 0
    check(state, message)


def check(state: Any, message: Message, *, priced: bool = True) -> None:
    """Raise NotRunnable if a message cannot run. ``priced``: it must pay the base fee."""
    base_fee = state.execution_context.base_fee_per_gas if priced and _has_base_fee(state) else 0
    if message.max_fee_per_gas < message.max_priority_fee_per_gas:
        raise NotRunnable(
            "max priority fee per gas higher than max fee per gas: "
            f"address {checksum(message.sender)}, "
            f"maxPriorityFeePerGas: {message.max_priority_fee_per_gas}, "
            f"maxFeePerGas: {message.max_fee_per_gas}"
        )
    if message.max_fee_per_gas < base_fee:
        raise NotRunnable(
            f"max fee per gas less than block base fee: address {checksum(message.sender)}, "
            f"maxFeePerGas: {message.max_fee_per_gas}, baseFee: {base_fee}"
        )
    blob_gas = GAS_PER_BLOB * len(message.blob_versioned_hashes)
    _check_blobs(state, message)
    have = state.get_balance(message.sender)
    want = message.gas * message.max_fee_per_gas + message.value
    want += blob_gas * message.max_fee_per_blob_gas
    if have < want:
        raise NotRunnable(
            "insufficient funds for gas * price + value: "
            f"address {checksum(message.sender)} have {have} want {want}"
        )
    rules = state.rules
    least = intrinsic_gas(message, rules)
    if message.gas < least:
        raise NotRunnable(f"intrinsic gas too low: have {message.gas}, want {least}")
    floor = floor_gas(message.data) if rules.floor else 0
    if message.gas < floor:
        raise NotRunnable(
            f"insufficient gas for floor data gas cost: have {message.gas}, want {floor}"
        )
    if rules.initcode and not message.to and len(message.data) > MAX_INITCODE:
        raise NotRunnable(
            f"max initcode size exceeded: code size {len(message.data)} limit {MAX_INITCODE}"
        )
    if not message.to and state.get_nonce(message.sender) == _MAX_NONCE:
        raise ChainError("nonce uint64 overflow")


def _check_blobs(state: Any, message: Message) -> None:
    """Raise NotRunnable for blob fields (EIP-4844) that are invalid in every block."""
    hashes = message.blob_versioned_hashes
    if not hashes:
        return
    if not message.to:
        raise NotRunnable("blob transaction of type create")
    for at, each in enumerate(hashes):
        if each[:1] != b"\x01":
            raise NotRunnable(f"blob {at} has invalid hash version")
    if not hasattr(state, "transient_storage"):
        raise NotRunnable("there are no blobs before Cancun")
    if 0 < message.max_fee_per_blob_gas < state.blob_base_fee:
        raise NotRunnable(
            f"max fee per blob gas less than block blob gas fee: address {checksum(message.sender)}"
            f" blobGasFeeCap: {message.max_fee_per_blob_gas}, blobBaseFee: {state.blob_base_fee}"
        )


def _has_base_fee(state: Any) -> bool:
    """Tell whether the fork has a base fee (EIP-1559, from London on)."""
    return state.rules.base_fee


def _is_plain_transfer(state_at: Callable[[], Any], message: Message) -> bool:
    """Tell whether this only transfers ether, which always costs 21000 gas."""
    if message.data or message.access_list or message.authorization_list or not message.to:
        return False
    state = state_at()
    if state.get_code(message.to) or message.to in state.precompiles:
        return False
    if message.gas < TRANSFER_GAS:
        return False
    try:
        _begin(state, replace(message, gas=TRANSFER_GAS))
    except NotRunnable:
        return False
    return True


def _narrow(
    state_at: Callable[[], Any], message: Message, gas: int, too_little: int, enough: int
) -> tuple[int, int]:
    failed = execute(state_at(), replace(message, gas=gas)).error is not None
    return (gas, enough) if failed else (too_little, gas)

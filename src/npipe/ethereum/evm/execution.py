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
_OPCODE = re.compile("Invalid opcode 0x([0-9a-f]+) ")  # as py-evm says it
_MAX_NONCE = 2**64 - 1


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
        """As py-evm has it: without the price of code that creates (see ``gas``)."""
        authorizations = PER_EMPTY_ACCOUNT_BASE_COST * len(self.authorization_list)
        return int(calculate_txn_intrinsic_gas_berlin(self)) + authorizations

    @property
    def gas_price(self) -> int:
        """The price to forks that know one number only."""
        return self.max_fee_per_gas


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a message: gas, output, and the error where it failed."""

    computation: ComputationAPI
    gas_used: int
    max_used: int  # before refunds: what it takes to run at all

    @property
    def output(self) -> bytes:
        return bytes(self.computation.output)

    @property
    def error(self) -> Exception | None:
        return self.computation.error if self.computation.is_error else None


def execute(state: Any, message: Message) -> Outcome:
    """Run a message on a state, which keeps the changes.

    Raises NotRunnable where it cannot begin: too little gas, or money that is not there.
    What fails inside is no exception but an outcome with an error.
    """
    _begin(state, message)
    return run(state, message)


def run(state: Any, message: Any, *, free: bool = False) -> Outcome:
    """Run a message that was checked, or a transaction. ``free``: the miner is paid nothing."""
    state.lock_changes()
    executor = state.get_transaction_executor()
    computation = executor.build_computation(executor.build_evm_message(message), message)
    remaining = computation.get_gas_remaining()
    if free:  # nothing is paid, so the miner must not be charged the base fee
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
    """The least gas with which the message succeeds, exactly. ``message.gas`` is the most.

    Less is not always enough where more is: contracts keep 1/64 back at each call, and refunds come
    at the end. So: run it with all, then halve the gap between too little and enough.
    Raises Reverted or ChainError as the message fails with all the gas it may have.
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
    if isinstance(error, StackUnderflow) or type(error) is evm.VMError:
        return str(error)  # a precompile's, which is in geth's words already
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
    """Refuse what cannot be run. A call that names no price sees no base fee either."""
    if message.max_fee_per_gas == 0 and _has_base_fee(state):
        state.pretend_block(base_fee=0)
    if message.blob_versioned_hashes and message.max_fee_per_blob_gas == 0:
        state.pretended_blob_base_fee = 0
    check(state, message)


def check(state: Any, message: Message, *, priced: bool = True) -> None:
    """Raise NotRunnable for what cannot be run. ``priced``: it must pay the base fee."""
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
    """Raise NotRunnable for blobs (EIP-4844) that no block could have."""
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
    """Whether the fork has a base fee (EIP-1559, from London on)."""
    return state.rules.base_fee


def _is_plain_transfer(state_at: Callable[[], Any], message: Message) -> bool:
    """Whether this only moves money: known to need 21000 without a search."""
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

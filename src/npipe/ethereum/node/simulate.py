"""eth_simulateV1: blocks executed one after the other on a chain, of which nothing is kept.

They are built as real blocks are, on a store over that of the chain. They differ in the senders:
nothing is signed, and without ``validation`` gas is free and nonces are not checked.
"""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from eth.abc import BlockHeaderAPI
from eth_hash.auto import keccak
from rlp import encode

from npipe.ethereum.chain import encode as shapes
from npipe.ethereum.chain import transactions
from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.chain.chain import Chain
from npipe.ethereum.chain.genesis import NO_ROOT
from npipe.ethereum.chain.pretend import pretend_accounts
from npipe.ethereum.errors import ChainError, NotRunnable, Reverted
from npipe.ethereum.evm import execution
from npipe.ethereum.evm.addresses import checksum
from npipe.ethereum.evm.execution import Message, Outcome
from npipe.ethereum.evm.forks import Fork, withdrawal
from npipe.ethereum.evm.impersonation import simulated
from npipe.ethereum.evm.state import TIMEOUT
from npipe.ethereum.node.calls import GAS_CAP, Calls
from npipe.ethereum.node.worker import Trial
from npipe.ethereum.tracing.watching import Frame, Tracer, traced
from npipe.ethereum.values.defaults import call_fees
from npipe.ethereum.values.overrides import BlockOverrides, WithdrawalRequest
from npipe.ethereum.values.simulate_options import BlockCalls, Simulation, in_order
from npipe.ethereum.values.types import TransactionRequest, data, quantity, to_bytes, to_int

__all__ = ["simulate"]

JSON = dict[str, Any]
_SELFDESTRUCT, _LOG0, _LOG4 = 0xFF, 0xA0, 0xA4
_TRANSFER = int.from_bytes(keccak(b"Transfer(address,address,uint256)"), "big")
_ETHER = b"\xee" * 20  # the token address of ether in logs (ERC-7528)
_MAX_NONCE = 2**64 - 1
_FAILED, _OUT_OF_BLOCK = -32015, -38015
_NONCE_TOO_LOW, _NONCE_TOO_HIGH, _INVALID = -38010, -38011, -32602
_NONCE_AT_MAX = -32603  # as in the example of the specification
_CODES = {
    "max fee per gas less than": -38012,
    "intrinsic gas": -38013,
    "insufficient gas for floor": -38013,
    "insufficient funds": -38014,
    "max initcode": -38025,
}


@dataclass(frozen=True, slots=True)
class Log:
    """A log, with the field names of py-evm's logs."""

    address: bytes
    topics: tuple[int, ...]
    data: bytes


class _Logs(Tracer):
    """All logs, and for each transfer of ether a log at its position."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, Log]] = []  # of successful frames, each with its number
        self.count = 0  # of all logs, also those that were removed
        self._open: list[list[tuple[int, Log]]] = []
        self._destroying: tuple[bytes, bytes, int] = b"", b"", 0

    def enter(self, frame: Frame) -> None:
        """Add the transfer to a new frame."""
        self._open.append([])
        if frame.value and frame.kind != "DELEGATECALL":
            self._add_transfer(frame.origin, frame.target, frame.value)

    def leave(self, frame: Frame, computation: Any) -> None:
        """Remove the logs of a failed frame; those of another frame become its parent's."""
        own = self._open.pop()
        if not computation.is_error:
            (self._open[-1] if self._open else self.kept).extend(own)

    def before(self, computation: Any, mnemonic: str) -> None:
        """Read the balance that SELFDESTRUCT is about to send."""
        self._destroying = b"", b"", 0
        if mnemonic == "SELFDESTRUCT" and computation.stack_size:
            own = computation.msg.storage_address
            target = computation.stack_word(0).to_bytes(32, "big")[12:]
            self._destroying = own, target, computation.state.get_balance(own)

    def after(self, computation: Any, error: Exception | None) -> None:
        """Add a log, or the transfer of SELFDESTRUCT."""
        code = computation.code.last
        if error is None and code == _SELFDESTRUCT and self._destroying[2]:
            self._add_transfer(*self._destroying)
        if error is None and _LOG0 <= code <= _LOG4:
            _, address, topics, octets = computation.own_logs[-1]
            self._add(Log(address, topics, octets))

    def _add_transfer(self, sender: bytes, receiver: bytes, value: int) -> None:
        topics = (_TRANSFER, *(int.from_bytes(party, "big") for party in (sender, receiver)))
        self._add(Log(_ETHER, topics, value.to_bytes(32, "big")))

    def _add(self, log: Log) -> None:
        self._open[-1].append((self.count, log))
        self.count += 1


def simulate(
    chain: Chain, calls: Calls, base: BlockHeaderAPI, simulation: Simulation
) -> Trial[list[JSON]]:
    """Run a simulation on a block. Raises ChainError for a call that no block could contain."""
    root, fork = chain.state_root(base), chain.forks.of_header(base)

    def trial() -> list[JSON]:
        blocks = in_order(simulation.block_state_calls, base.block_number, base.timestamp)
        scratch = ChainMap({base.hash: encode(base)}, chain.store)
        deadline = time.monotonic() + TIMEOUT
        parent, parent_root, left = base, root, GAS_CAP
        told: list[JSON] = []
        for block, timestamp in blocks:
            header = _header(
                fork, parent, parent_root, block, timestamp=timestamp, real=simulation.validation
            )
            vm = chain.vm(header, scratch)
            vm.state.deadline = deadline
            run = _Block(vm, calls, simulation, left)
            shape, parent = run.run(block)
            left = run.left
            scratch[parent.hash] = encode(parent)
            parent_root = parent.state_root
            told.append(shape)
        return told

    return trial


def _header(
    fork: Fork,
    parent: BlockHeaderAPI,
    root: bytes,
    block: BlockCalls,
    *,
    timestamp: int,
    real: bool,
) -> BlockHeaderAPI:
    """Return the header with which a block begins. ``real``: with the base fee of a real block."""
    wanted = block.block_overrides or BlockOverrides()
    header = fork.machine.create_header_from_parent(
        parent, coinbase=parent.coinbase, timestamp=timestamp, gas_limit=parent.gas_limit
    )
    if fork.blobs is not None:
        header = header.copy(
            excess_blob_gas=fork.excess_blob_gas(parent),
            parent_beacon_block_root=_given(wanted.beacon_root, NO_ROOT),
        )
    if fork.machine.get_state_class().rules.base_fee:
        fee = header.base_fee_per_gas if real else 0
        if wanted.base_fee_per_gas is not None:
            fee = to_int(wanted.base_fee_per_gas)
        header = header.copy(base_fee_per_gas=fee)
    return header.copy(
        state_root=root,
        extra_data=b"",
        nonce=bytes(8),
        difficulty=parent.difficulty if wanted.difficulty is None else to_int(wanted.difficulty),
        mix_hash=_given(wanted.prev_randao, NO_ROOT),
        coinbase=_given(wanted.fee_recipient, parent.coinbase),
        gas_limit=parent.gas_limit if wanted.gas_limit is None else to_int(wanted.gas_limit),
    )


def _given(text: str | None, default: bytes) -> bytes:
    return default if text is None else to_bytes(text)


class _Block:
    """One block of a simulation."""

    def __init__(self, vm: Any, calls: Calls, simulation: Simulation, left: int) -> None:
        """Begin a block. ``left`` is the remaining gas of the whole simulation."""
        self._vm, self._calls, self._simulation, self.left = vm, calls, simulation, left
        self._state: Any = vm.state
        self._plain = self._state.computation_class
        self._header = vm.get_header()
        self._transactions: list[Any] = []
        self._receipts: list[Any] = []
        self._outcomes: list[tuple[Outcome, list[tuple[int, Log]], int]] = []

    def run(self, block: BlockCalls) -> tuple[JSON, BlockHeaderAPI]:
        """Run the calls; return the block in JSON, and its header."""
        vm = self._vm
        wanted = block.block_overrides or BlockOverrides()
        if wanted.blob_base_fee is not None:
            self._state.pretend_block(blob_base_fee=to_int(wanted.blob_base_fee))
        pretend_accounts(self._state, block.state_overrides or {})
        vm.block_preprocessing(vm.get_block())
        for request in block.calls or ():
            self._call(request)
        withdrawals = [withdrawal(*_fields(item)) for item in wanted.withdrawals or ()]
        if withdrawals:
            vm.apply_all_withdrawals(withdrawals)
        filled = vm.set_block_transactions_and_withdrawals(
            vm.get_block(),
            self._header,
            tuple(self._transactions),
            tuple(self._receipts),
            withdrawals,
        )
        sealed = vm.finalize_block(vm.block_postprocessing(filled)).block
        mined = MinedBlock(sealed, tuple(self._receipts), (None,) * len(self._receipts))
        full = self._simulation.return_full_transactions
        shape = shapes.block(mined, len(encode(sealed)), full=full)
        return shape | {"calls": list(self._told(mined))}, mined.header

    def _call(self, request: TransactionRequest) -> None:
        """Run one call as a transaction."""
        state, header = self._state, self._header
        room = header.gas_limit - header.gas_used
        gas = room if request.gas is None else to_int(request.gas)
        if gas > room:
            raise ChainError(
                f"block gas limit reached: {header.gas_used} >= {header.gas_limit}",
                code=_OUT_OF_BLOCK,
            )
        gas = min(gas, self.left)
        request = msgspec.structs.replace(request, gas=gas)
        message = replace(self._calls.message(request, state), gas=gas)
        nonce = state.get_nonce(message.sender)
        wanted = nonce if request.nonce is None else to_int(request.nonce)
        self._check(message, wanted, nonce)
        cap, tip = call_fees(request)
        unsigned = transactions.unsigned(
            request,
            chain_id=state.execution_context.chain_id,
            nonce=wanted,
            gas=gas,
            fees=(cap, None if request.gas_price is not None else cap if tip is None else tip),
        )
        transaction = simulated(unsigned, message.sender)
        logs = _Logs()
        if self._simulation.trace_transfers:
            state.computation_class = traced(logs, self._plain)
        free = not self._simulation.validation and not cap
        outcome = execution.run(state, transaction, free=free)
        self.left -= outcome.gas_used
        receipt = self._vm.make_receipt(header, transaction, outcome.computation, state)
        self._transactions.append(transaction)
        self._receipts.append(receipt)
        if self._simulation.trace_transfers:
            self._outcomes.append((outcome, logs.kept, logs.count))
        else:
            entries = outcome.computation.get_raw_log_entries()
            count = outcome.computation.transaction_context.get_next_log_counter()
            kept = [(at, Log(*entry)) for at, *entry in entries]
            self._outcomes.append((outcome, kept, count))
        self._header = self._vm.increment_blob_gas_used(
            self._vm.add_receipt_to_header(header, receipt), transaction
        )

    def _check(self, message: Message, wanted: int, nonce: int) -> None:
        real = self._simulation.validation
        try:
            if real and wanted != nonce:
                raise NotRunnable(
                    f"nonce too {'low' if wanted < nonce else 'high'}: "
                    f"address {checksum(message.sender)}, tx: {wanted} state: {nonce}",
                    code=_NONCE_TOO_LOW if wanted < nonce else _NONCE_TOO_HIGH,
                )
            if real and nonce == _MAX_NONCE:
                raise NotRunnable(
                    f"nonce has max value: address {checksum(message.sender)}, nonce: {nonce}",
                    code=_NONCE_AT_MAX,
                )
            execution.check(self._state, message, priced=real or message.max_fee_per_gas > 0)
        except NotRunnable as error:
            known = (code for words, code in _CODES.items() if error.message.startswith(words))
            code = error.code if error.code != ChainError.code else next(known, _INVALID)
            raise ChainError(
                f"err: {error.message} (supplied gas {message.gas})", code=code
            ) from None

    def _told(self, mined: MinedBlock) -> Iterator[JSON]:
        """Return the results of the calls."""
        place = 0  # index of the next log; removed logs count too
        for index, (outcome, logs, count) in enumerate(self._outcomes):
            told: JSON = {
                "returnData": data(outcome.output),
                "logs": [shapes.log(mined, index, log, place + at) for at, log in logs],
                "gasUsed": quantity(outcome.gas_used),
                "maxUsedGas": quantity(outcome.max_used),
                "status": "0x1" if outcome.error is None else "0x0",
            }
            place += count
            if outcome.error is not None:
                told["error"] = _error(outcome)
                told["returnData"] = "0x"
            yield told


def _fields(item: WithdrawalRequest) -> tuple[int, int, bytes, int]:
    return (
        to_int(item.index),
        to_int(item.validator_index),
        to_bytes(item.address),
        to_int(item.amount),
    )


def _error(outcome: Outcome) -> JSON:
    assert outcome.error is not None
    words = execution.describe(outcome.error)
    if words != "execution reverted":
        return {"message": words, "code": _FAILED}
    reverted = Reverted(outcome.output)
    return {"message": reverted.message, "code": reverted.code, "data": reverted.data}

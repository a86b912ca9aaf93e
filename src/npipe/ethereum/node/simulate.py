"""eth_simulateV1: blocks that could follow, run one upon the other. Nothing of them is kept.

They are built as real ones are, on a store of their own that lies over the chain's. What differs
is who may send: nobody signs, and without ``validation`` gas is free and nonces are not looked at.
"""

from __future__ import annotations

import time
from collections import ChainMap
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
from npipe.ethereum.errors import ChainError, NotRunnable, Reverted
from npipe.ethereum.evm import execution
from npipe.ethereum.evm.execution import Message
from npipe.ethereum.evm.impersonation import simulated
from npipe.ethereum.evm.machine import TIMEOUT, Computation, Executor, Machine, State
from npipe.ethereum.node.calls import Calls
from npipe.ethereum.values.defaults import call_fees
from npipe.ethereum.values.overrides import BlockOverrides, Overrides
from npipe.ethereum.values.simulate_options import BlockCalls, Simulation, in_order
from npipe.ethereum.values.types import TransactionRequest, data, quantity, to_bytes, to_int

__all__ = ["simulate"]

JSON = dict[str, Any]
_NO_BYTES = bytes(32)
_TRANSFER = int.from_bytes(keccak(b"Transfer(address,address,uint256)"), "big")
_ETHER = b"\xee" * 20  # the address that ether is logged as, as if it were a token (ERC-7528)
_REVERTED, _FAILED, _OUT_OF_BLOCK = -32000, -32015, -38015
_NONCE_TOO_LOW, _NONCE_TOO_HIGH, _INVALID = -38010, -38011, -32602
_CODES = {"intrinsic gas": -38013, "insufficient funds": -38014, "max initcode": -38025}


@dataclass(frozen=True, slots=True)
class Log:
    """An event, by the names that py-evm's own have."""

    address: bytes
    topics: tuple[int, ...]
    data: bytes


class WithTransfers(Computation):
    """A frame that remembers the ether that it brought, in its place among the logs."""

    def __init__(self, state: Any, message: Any, transaction_context: Any) -> None:
        super().__init__(state, message, transaction_context)
        self.transfers: list[tuple[int, bytes, tuple[int, ...], bytes]] = []
        if message.value and message.should_transfer_value:
            parties = (message.sender, message.storage_address)
            topics = (_TRANSFER, *(int.from_bytes(party, "big") for party in parties))
            at = transaction_context.get_next_log_counter()
            self.transfers.append((at, _ETHER, topics, message.value.to_bytes(32, "big")))


def simulate(
    chain: Chain, calls: Calls, base: BlockHeaderAPI, simulation: Simulation
) -> list[JSON]:
    """Run it upon a block. Raises ChainError for what could be in no block at all."""
    blocks = in_order(simulation.block_state_calls, base.block_number, base.timestamp)
    scratch = ChainMap({base.hash: encode(base)}, chain.store)
    deadline = time.monotonic() + TIMEOUT
    parent, root = base, chain.state_root(base)
    told: list[JSON] = []
    for block, timestamp in blocks:
        header = _header(parent, root, timestamp, block.block_overrides, simulation.validation)
        vm = chain.vm(header, scratch)
        vm.state.deadline = deadline
        shape, parent = _Block(vm, calls, simulation).run(header, block)
        scratch[parent.hash] = encode(parent)
        root = parent.state_root
        told.append(shape)
    return told


def _header(
    parent: BlockHeaderAPI, root: bytes, timestamp: int, wanted: BlockOverrides | None, real: bool
) -> BlockHeaderAPI:
    """What a block begins with. ``real``: with the base fee that it would have."""
    wanted = wanted or BlockOverrides()
    header = Machine.create_header_from_parent(
        parent, coinbase=parent.coinbase, timestamp=timestamp, gas_limit=parent.gas_limit
    )
    fee = header.base_fee_per_gas if real else 0
    if wanted.withdrawals:
        raise ChainError("withdrawals cannot be simulated here", code=_INVALID)
    return header.copy(
        state_root=root,
        extra_data=b"",
        mix_hash=_given(wanted.prev_randao, _NO_BYTES),
        parent_beacon_block_root=_given(wanted.beacon_root, _NO_BYTES),
        coinbase=_given(wanted.fee_recipient, parent.coinbase),
        gas_limit=parent.gas_limit if wanted.gas_limit is None else to_int(wanted.gas_limit),
        base_fee_per_gas=fee
        if wanted.base_fee_per_gas is None
        else to_int(wanted.base_fee_per_gas),
    )


def _given(text: str | None, default: bytes) -> bytes:
    return default if text is None else to_bytes(text)


class _Block:
    """One block while it is run."""

    def __init__(self, vm: Machine, calls: Calls, simulation: Simulation) -> None:
        self._vm, self._calls, self._simulation = vm, calls, simulation
        self._state: State = vm.state
        if simulation.trace_transfers:
            self._state.computation_class = WithTransfers
        self._transactions: list[Any] = []
        self._receipts: list[Any] = []
        self._computations: list[Any] = []

    def run(self, header: BlockHeaderAPI, block: BlockCalls) -> tuple[JSON, BlockHeaderAPI]:
        """Run the calls; return what is told of the block, and its header."""
        vm = self._vm
        Overrides(block.state_overrides).apply(self._state)
        if block.block_overrides is not None and block.block_overrides.blob_base_fee is not None:
            self._state.pretended_blob_base_fee = to_int(block.block_overrides.blob_base_fee)
        vm.block_preprocessing(vm.get_block())
        for request in block.calls or ():
            header = self._call(header, request)
        sealed = vm.finalize_block(
            vm.set_block_transactions_and_withdrawals(
                vm.get_block(), header, tuple(self._transactions), tuple(self._receipts)
            )
        ).block
        mined = MinedBlock(sealed, tuple(self._receipts), (None,) * len(self._receipts))
        full = self._simulation.return_full_transactions
        shape = shapes.block(mined, len(encode(sealed)), full=full)
        return shape | {"calls": list(self._told(mined))}, mined.header

    def _call(self, header: BlockHeaderAPI, request: TransactionRequest) -> BlockHeaderAPI:
        """Run one call as a transaction; return the header with it in."""
        state, free = self._state, not self._simulation.validation
        room = header.gas_limit - header.gas_used
        gas = room if request.gas is None else to_int(request.gas)
        if gas > room:
            wanted = header.gas_used + gas
            raise ChainError(
                f"block gas limit reached: {wanted} >= {header.gas_limit}", code=_OUT_OF_BLOCK
            )
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
            fees=(cap, cap if tip is None else tip),
        )
        transaction = simulated(unsigned, message.sender)
        computation = self._execute(transaction, free=free and not cap)
        receipt = self._vm.make_receipt(header, transaction, computation, state)
        self._transactions.append(transaction)
        self._receipts.append(receipt)
        self._computations.append(computation)
        return self._vm.add_receipt_to_header(header, receipt)

    def _check(self, message: Message, wanted: int, nonce: int) -> None:
        real = self._simulation.validation
        try:
            if real and wanted != nonce:
                raise NotRunnable(
                    f"nonce too {'low' if wanted < nonce else 'high'}: "
                    f"address 0x{message.sender.hex()}, tx: {wanted} state: {nonce}",
                    code=_NONCE_TOO_LOW if wanted < nonce else _NONCE_TOO_HIGH,
                )
            execution.check(self._state, message, priced=real or message.max_fee_per_gas > 0)
        except NotRunnable as error:
            known = (code for words, code in _CODES.items() if error.message.startswith(words))
            code = error.code if error.code != ChainError.code else next(known, _INVALID)
            raise ChainError(
                f"err: {error.message} (supplied gas {message.gas})", code=code
            ) from None

    def _execute(self, transaction: Any, *, free: bool) -> Any:
        state: Any = self._state
        state.lock_changes()
        executor = Executor(state)
        computation = executor.build_computation(
            executor.build_evm_message(transaction), transaction
        )
        context = state.execution_context
        base_fee = context.base_fee_per_gas
        if free:  # nothing is paid, so the miner must not be charged the base fee
            context._base_fee_per_gas = 0
        executor.finalize_computation(transaction, computation)
        context._base_fee_per_gas = base_fee
        state.clear_transient_storage()
        return computation

    def _told(self, mined: MinedBlock) -> Any:
        """What came of each call."""
        place = 0
        for index, computation in enumerate(self._computations):
            logs = _logs(computation)
            told: JSON = {
                "returnData": data(bytes(computation.output)),
                "logs": [shapes.log(mined, index, log, place + at) for at, log in enumerate(logs)],
                "gasUsed": quantity(mined.gas_used(index)),
                "status": "0x0" if computation.is_error else "0x1",
            }
            place += len(logs)
            if computation.is_error:
                told["error"] = _error(computation)
                told["returnData"] = "0x"
            yield told


def _logs(computation: Any) -> list[Log]:
    entries = list(computation.get_raw_log_entries())
    for frame, failed in computation.frames():
        if not failed:
            entries += getattr(frame, "transfers", ())
    return [Log(address, topics, octets) for _, address, topics, octets in sorted(entries)]


def _error(computation: Any) -> JSON:
    words = execution.describe(computation.error)
    if words != "execution reverted":
        return {"message": words, "code": _FAILED}
    reverted = Reverted(bytes(computation.output))
    return {"message": reverted.message, "code": _REVERTED, "data": reverted.data}

"""Executing mined transactions again with a tracer: debug_trace* and eth_createAccessList."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from npipe.errors import InvalidParams
from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.chain.block_run import begun
from npipe.ethereum.chain.chain import Chain
from npipe.ethereum.chain.transactions import signer
from npipe.ethereum.errors import ChainError
from npipe.ethereum.evm import execution
from npipe.ethereum.evm.addresses import created, delegate_of
from npipe.ethereum.evm.execution import Message
from npipe.ethereum.tracing.call_tracer import CallTracer, FourByteTracer
from npipe.ethereum.tracing.struct_tracer import StructTracer
from npipe.ethereum.tracing.touched import (
    AccessTracer,
    PrestateTracer,
    accounts_before,
    accounts_changed,
)
from npipe.ethereum.tracing.watching import Tracer, traced
from npipe.ethereum.values.trace_options import TRACERS, TraceConfig, TracerConfig, timeout_of
from npipe.ethereum.values.types import data, quantity, word

__all__ = ["TOO_LATE", "access_list", "trace_block", "trace_message", "trace_transaction"]

TOO_LATE = "execution timeout"  # geth's message for a trace that takes too long
_MAX_ROUNDS = 16  # for an access list: each adds to the last; most need two


def trace_transaction(
    chain: Chain, mined: MinedBlock, index: int, config: TraceConfig
) -> Callable[[], Any]:
    """Return a function that executes a transaction of a block again, on the state before it.

    The function may run in any thread, and raises ChainError if it takes too long.
    """
    replay = _replay(chain, mined, {index}, config)
    return lambda: replay()[index]


def trace_block(
    chain: Chain, mined: MinedBlock, config: TraceConfig
) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that executes all transactions of a block again.

    See ``trace_transaction``. Raises ChainError for the first block, which has no transactions.
    """
    if mined.number == 0:
        raise ChainError("genesis is not traceable")
    transactions = mined.block.transactions
    replay = _replay(chain, mined, set(range(len(transactions))), config)

    def trial() -> list[dict[str, Any]]:
        results = replay()
        return [
            {"txHash": data(item.hash), "result": results[index]}
            for index, item in enumerate(transactions)
        ]

    return trial


def trace_message(state_at: Callable[[], Any], message: Message, config: TraceConfig) -> Any:
    """Trace a call outside of a block. ``state_at`` opens its state."""
    state = state_at()
    tracer = _tracer(config, message, state)
    state.computation_class = traced(tracer, state.computation_class)
    outcome = execution.execute(state, message)
    run = _Run(outcome.gas_used, outcome.computation, message.gas)
    return _result(tracer, config, run, state_at(), state)


def access_list(
    state_at: Any, message: Message, ignored: set[bytes]
) -> tuple[list[dict[str, Any]], int, str]:
    """Return the access list of a message, the gas that it uses with it, and its error.

    The list changes the execution, because gas is visible, so the message runs until the list does
    not grow. ``ignored``: accounts that are warm anyway, listed only for their slots.
    """
    entries: dict[bytes, set[int]] = {address: set(slots) for address, slots in message.access_list}
    for _ in range(_MAX_ROUNDS):
        tracer = AccessTracer()
        state = state_at()
        state.computation_class = traced(tracer, state.computation_class)
        listed = [(address, sorted(slots)) for address, slots in entries.items()]
        outcome = execution.execute(state, replace(message, access_list=listed))
        before = {address: set(slots) for address, slots in entries.items()}
        for address, slots in tracer.touched.items():
            if slots or address not in ignored:
                entries.setdefault(address, set()).update(slots)
        if entries == before:
            break
    shape = [
        {"address": data(address), "storageKeys": [word(slot) for slot in sorted(slots)]}
        for address, slots in entries.items()
    ]
    return shape, outcome.gas_used, execution.describe(outcome.error) if outcome.error else ""


def _replay(
    chain: Chain, mined: MinedBlock, wanted: set[int], config: TraceConfig
) -> Callable[[], dict[int, Any]]:
    """Return a function that executes a block's transactions up to the last one wanted."""
    header = begun(mined.header, chain.state_root(chain.blocks[mined.number - 1].header))
    seconds = timeout_of(config)

    def machine(deadline: float) -> Any:
        vm = chain.vm(header, ChainMap({}, chain.store))
        vm.state.deadline, vm.state.late = deadline, TOO_LATE
        vm.block_preprocessing(vm.get_block())
        return vm

    def trial() -> dict[int, Any]:
        deadline = time.monotonic() + seconds
        return _traces(mined, wanted, config, machine(deadline), machine(deadline))

    return trial


def _traces(
    mined: MinedBlock, wanted: set[int], config: TraceConfig, vm: Any, behind: Any
) -> dict[int, Any]:
    """Execute the transactions on machines with the state before the first one.

    For prestateTracer both machines execute them, ``behind`` one transaction later.
    """
    plain = vm.state.computation_class
    results: dict[int, Any] = {}
    for index, transaction in enumerate(mined.block.transactions[: max(wanted, default=-1) + 1]):
        tracer = _tracer(config, transaction, behind.state) if index in wanted else None
        vm.state.computation_class = plain if tracer is None else traced(tracer, plain)
        receipt, computation = vm.apply_transaction(vm.get_header(), transaction)
        if tracer is not None:
            run = _Run(receipt.gas_used, computation, transaction.gas)
            results[index] = _result(tracer, config, run, behind.state, vm.state)
        if config.tracer == "prestateTracer":
            behind.apply_transaction(behind.get_header(), transaction)
    return results


@dataclass(frozen=True, slots=True)
class _Run:
    """The result of a transaction or a message."""

    gas_used: int
    computation: Any
    gas: int  # the gas limit


def _tracer(config: TraceConfig, message: Any, before: Any) -> Tracer:
    """Return the requested tracer. ``before`` is a state that the message has not changed yet."""
    options = config.tracer_config or TracerConfig()
    match config.tracer:
        case None | "":
            return StructTracer(
                stack=not config.disable_stack,
                memory=config.enable_memory,
                storage=not config.disable_storage,
                return_data=config.enable_return_data,
                limit=config.limit,
            )
        case "callTracer":
            return CallTracer(only_top=options.only_top_call, with_logs=options.with_log)
        case "prestateTracer":
            return _prestate_tracer(message, before)
        case "4byteTracer":
            return FourByteTracer(set(before.precompiles))
        case "noopTracer":
            return Tracer()
    names = ", ".join(TRACERS)
    raise InvalidParams(f"unknown tracer {config.tracer!r}: use one of {names}, or none")


def _prestate_tracer(message: Any, before: Any) -> PrestateTracer:
    """Return a tracer that has seen the accounts of every transaction: sender, receiver, miner."""
    sender = message.sender
    target = message.to or created(sender, before.get_nonce(sender))
    tracer = PrestateTracer()
    tracer.meet(sender, target, before.coinbase)
    if delegate := delegate_of(before.get_code(target)):
        tracer.meet(delegate)
    if message.type_id == 4:
        tracer.meet(*filter(None, map(signer, message.authorization_list)))
    return tracer


def _result(tracer: Tracer, config: TraceConfig, run: _Run, before: Any, after: Any) -> Any:
    """Return the result of the tracer. ``before`` and ``after`` are states."""
    if isinstance(tracer, CallTracer):
        # The first frame stands for the whole transaction, with its intrinsic gas.
        tracer.top["gas"] = quantity(run.gas)
        tracer.top["gasUsed"] = quantity(run.gas_used)
        return tracer.top
    if isinstance(tracer, PrestateTracer):
        options = config.tracer_config or TracerConfig()
        if options.diff_mode:
            return accounts_changed(tracer, before, after, options)
        return accounts_before(tracer, before, options)
    if isinstance(tracer, FourByteTracer):
        return tracer.counts
    if not isinstance(tracer, StructTracer):
        return {}
    return {
        "gas": run.gas_used,
        "failed": run.computation.is_error,
        "returnValue": data(bytes(run.computation.output)),
        "structLogs": tracer.steps,
    }

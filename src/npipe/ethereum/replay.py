"""Running what has been mined once more, watched: debug_trace*, and eth_createAccessList."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from eth.abc import StateAPI

from npipe.errors import InvalidParams

from . import execution
from .chain import Chain
from .errors import ChainError
from .execution import Message
from .formats import data, quantity, word
from .mined import Mined
from .trace import AccessTracer, CallTracer, StructTracer, traced
from .tracing import TraceConfig, TracerConfig

__all__ = ["access_list", "trace_block", "trace_message", "trace_transaction"]

_MAX_ROUNDS = 16  # of looking for an access list: each adds to the last, most need two


def trace_transaction(chain: Chain, mined: Mined, index: int, config: TraceConfig) -> Any:
    """One transaction of a block, run as it was, on the state as it was before it."""
    return _replay(chain, mined, {index}, config)[index]


def trace_block(chain: Chain, mined: Mined, config: TraceConfig) -> list[dict[str, Any]]:
    """All transactions of a block. Raises ChainError for the first block, which ran nothing."""
    if mined.number == 0:
        raise ChainError("genesis is not traceable")
    transactions = mined.block.transactions
    results = _replay(chain, mined, set(range(len(transactions))), config)
    return [
        {"txHash": data(item.hash), "result": results[index]}
        for index, item in enumerate(transactions)
    ]


def trace_message(state: StateAPI, message: Message, config: TraceConfig) -> Any:
    """A call that is in no block."""
    tracer = _tracer(config)
    state.computation_class = traced(tracer)
    outcome = execution.execute(state, message)
    return _result(tracer, outcome.gas_used, outcome.computation, message.intrinsic_gas)


def access_list(
    state_at: Any, message: Message, ignored: set[bytes]
) -> tuple[list[dict[str, Any]], int, str]:
    """The accounts and slots a message touches, the gas it uses when it names them, its error.

    Naming them changes what the message does (gas is visible), so it is run until nothing is new.
    ``ignored``: accounts that are warm anyway, listed only for their slots.
    """
    entries: dict[bytes, set[int]] = {address: set(slots) for address, slots in message.access_list}
    for _ in range(_MAX_ROUNDS):
        tracer = AccessTracer()
        state = state_at()
        state.computation_class = traced(tracer)
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


def _replay(chain: Chain, mined: Mined, wanted: set[int], config: TraceConfig) -> dict[int, Any]:
    """Run a block's transactions up to the last one wanted, those wanted with a tracer."""
    parent = chain.blocks[mined.number - 1].header
    before = chain.state_root(parent)
    vm = chain.vm(mined.header.copy(state_root=before, gas_used=0, bloom=0))
    vm.block_preprocessing(vm.get_block())
    plain = vm.state.computation_class
    results: dict[int, Any] = {}
    for index, transaction in enumerate(mined.block.transactions[: max(wanted, default=-1) + 1]):
        tracer = _tracer(config) if index in wanted else None
        vm.state.computation_class = plain if tracer is None else traced(tracer)
        receipt, computation = vm.apply_transaction(vm.get_header(), transaction)
        if tracer is not None:
            results[index] = _result(
                tracer, receipt.gas_used, computation, transaction.intrinsic_gas
            )
    return results


def _tracer(config: TraceConfig) -> StructTracer | CallTracer:
    if config.tracer == "callTracer":
        options = config.tracer_config or TracerConfig()
        return CallTracer(only_top=options.only_top_call, with_logs=options.with_log)
    if config.tracer:
        raise InvalidParams(f"there is no tracer {config.tracer!r}: callTracer, or none at all")
    return StructTracer(
        stack=not config.disable_stack,
        memory=config.enable_memory,
        storage=not config.disable_storage,
        limit=config.limit,
    )


def _result(
    tracer: StructTracer | CallTracer, gas_used: int, computation: Any, intrinsic: int
) -> dict[str, Any]:
    if isinstance(tracer, CallTracer):
        # The first frame stands for the whole transaction, with what it cost to begin.
        tracer.top["gas"] = quantity(int(tracer.top["gas"], 16) + intrinsic)
        tracer.top["gasUsed"] = quantity(gas_used)
        return tracer.top
    return {
        "gas": gas_used,
        "failed": computation.is_error,
        "returnValue": data(bytes(computation.output)),
        "structLogs": tracer.steps,
    }

"""Calls: what a transaction would do, on the state of a block. Nothing of it is kept.

They run in the worker, as all that uses the chain.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from eth.abc import BlockHeaderAPI
from msgspec.structs import replace

from npipe.ethereum.chain import transactions
from npipe.ethereum.chain.chain import Chain
from npipe.ethereum.errors import ChainError, NotRunnable
from npipe.ethereum.evm import execution
from npipe.ethereum.evm.execution import Message
from npipe.ethereum.evm.machine import TIMEOUT, State
from npipe.ethereum.tracing import replay
from npipe.ethereum.values.defaults import call_fees, check_chain
from npipe.ethereum.values.overrides import Overrides
from npipe.ethereum.values.trace_options import TraceConfig
from npipe.ethereum.values.types import BlockId, TransactionRequest, to_bytes, to_int

__all__ = ["Calls"]

_NOTHING = Overrides()


class Calls:
    """What can be tried on a chain."""

    def __init__(self, chain: Chain, header_of: Callable[[BlockId], BlockHeaderAPI]) -> None:
        """``header_of`` tells what a block is for who calls. Raises UnknownBlock."""
        self._chain, self._header_of = chain, header_of

    def message(self, request: TransactionRequest, state: State) -> Message:
        """What a request asks to be run, with geth's defaults filled in."""
        check_chain(request, self._chain.chain_id)
        fee_cap, tip = call_fees(request)
        sender = to_bytes(request.from_) if request.from_ else bytes(20)
        value = to_int(request.value or 0)
        limit = self._chain.head.header.gas_limit
        gas = min(to_int(request.gas), limit) if request.gas is not None else limit
        if fee_cap and request.gas is None:  # no more than the sender can pay
            gas = min(gas, max(0, state.get_balance(sender) - value) // fee_cap)
        return Message(
            sender=sender,
            to=request.target,
            gas=gas,
            value=value,
            data=request.payload,
            max_fee_per_gas=fee_cap,
            max_priority_fee_per_gas=fee_cap if tip is None else tip,
            access_list=transactions.access_list(request.access_list or ()),
            blob_versioned_hashes=[to_bytes(each) for each in request.blob_versioned_hashes or ()],
            max_fee_per_blob_gas=to_int(request.max_fee_per_blob_gas or 0),
            authorization_list=transactions.authorizations(request.authorization_list or ()),
        )

    def call(
        self,
        request: TransactionRequest,
        wanted: BlockId,
        overrides: Overrides = _NOTHING,
    ) -> bytes:
        """Run a request on the state of a block and return its output; nothing is kept."""
        state = self._trial(wanted, overrides)()
        message = self.message(request, state)
        try:
            outcome = execution.execute(state, message)
        except NotRunnable as error:
            raise ChainError(f"err: {error.message} (supplied gas {message.gas})") from None
        execution.raise_for(outcome)
        return outcome.output

    def estimate(
        self,
        request: TransactionRequest,
        wanted: BlockId,
        overrides: Overrides = _NOTHING,
    ) -> int:
        """The least gas that makes a request succeed."""
        fresh = self._trial(wanted, overrides)
        state = fresh()
        if request.gas is not None and to_int(request.gas) < execution.TRANSFER_GAS:
            request = replace(request, gas=None)  # it would never do: as if it had not been given
        fee_cap, value = call_fees(request)[0], to_int(request.value or 0)
        if fee_cap and request.from_ and state.get_balance(to_bytes(request.from_)) <= value:
            raise ChainError("insufficient funds for transfer")
        return execution.estimate(fresh, self.message(request, state))

    def access_list(
        self,
        request: TransactionRequest,
        wanted: BlockId,
        overrides: Overrides = _NOTHING,
    ) -> tuple[list[dict[str, Any]], int, str]:
        """What a request touches, the gas it uses when it says so, and its error or ""."""
        fresh = self._trial(wanted, overrides)
        state = fresh()
        message = self.message(request, state)
        ignored = {message.sender, message.to, self._chain.coinbase}
        ignored |= set(state.computation_class.get_precompiles())
        return replay.access_list(fresh, message, ignored)

    def trace(
        self,
        request: TransactionRequest,
        wanted: BlockId,
        overrides: Overrides,
        config: TraceConfig,
    ) -> Any:
        """Run a request and say what it did."""
        fresh = self._trial(wanted, overrides)
        return replay.trace_message(fresh, self.message(request, fresh()), config)

    def _trial(self, wanted: BlockId, overrides: Overrides) -> Callable[[], State]:
        """Opens the state after a block, changed as the caller pretends, for one attempt each.

        All attempts together must end in time.
        """
        header = self._header_of(wanted)
        deadline = time.monotonic() + TIMEOUT

        def fresh() -> State:
            state = self._chain.state(header, deadline)
            overrides.apply(state)
            return state

        return fresh

"""eth_call, estimates and traces: the state of a block, with a deadline and overrides.

The methods run in the worker of the chain, where they open the state. They return a ``Trial``,
which executes on that state in any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from eth.abc import BlockHeaderAPI
from msgspec.structs import replace

from npipe.ethereum.chain import transactions
from npipe.ethereum.chain.chain import Chain
from npipe.ethereum.chain.pretend import pretend
from npipe.ethereum.errors import ChainError, NotRunnable
from npipe.ethereum.evm import execution
from npipe.ethereum.evm.execution import Message
from npipe.ethereum.evm.gas import TRANSFER_GAS
from npipe.ethereum.evm.state import TIMEOUT
from npipe.ethereum.node.worker import Trial
from npipe.ethereum.tracing import replay
from npipe.ethereum.values.defaults import call_fees, check_chain
from npipe.ethereum.values.overrides import Overrides
from npipe.ethereum.values.trace_options import TraceConfig, timeout_of
from npipe.ethereum.values.types import BlockId, TransactionRequest, to_bytes, to_int

__all__ = ["GAS_CAP", "Calls"]

_NOTHING = Overrides()
GAS_CAP = 50_000_000  # gas of a call, as in geth


class Calls:
    """Calls, estimates and traces on a chain."""

    def __init__(self, chain: Chain, header_of: Callable[[BlockId], BlockHeaderAPI]) -> None:
        """``header_of`` returns the header of a block. Raises UnknownBlock."""
        self._chain, self._header_of = chain, header_of

    def message(self, request: TransactionRequest, state: Any, *, most: int = GAS_CAP) -> Message:
        """Make the message of a request, with geth's defaults; ``most`` caps its gas."""
        check_chain(request, self._chain.chain_id)
        fee_cap, tip = call_fees(request)
        sender = to_bytes(request.from_) if request.from_ else bytes(20)
        value = to_int(request.value or 0)
        gas = min(to_int(request.gas), most) if request.gas is not None else most
        if fee_cap and request.gas is None:  # at most what the sender can pay
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
        self, request: TransactionRequest, wanted: BlockId, overrides: Overrides = _NOTHING
    ) -> Trial[bytes]:
        """Execute a request on the state of a block and return its output; nothing is kept."""
        opened = self._trial(wanted, overrides)

        def trial() -> bytes:
            state = opened.begin()()
            message = self.message(request, state)
            try:
                outcome = execution.execute(state, message)
            except NotRunnable as error:
                raise ChainError(f"err: {error.message} (supplied gas {message.gas})") from None
            execution.raise_for(outcome)
            return outcome.output

        return trial

    def estimate(
        self, request: TransactionRequest, wanted: BlockId, overrides: Overrides = _NOTHING
    ) -> Trial[int]:
        """Return the minimum of gas with which a request succeeds."""
        opened, limit = self._trial(wanted, overrides), self._chain.gas_limit

        def trial() -> int:
            fresh = opened.begin()
            state, asked = fresh(), request
            if asked.gas is not None and to_int(asked.gas) < TRANSFER_GAS:
                asked = replace(
                    asked, gas=None
                )  # it can never suffice: estimate as if it had not been given
            fee_cap, value = call_fees(asked)[0], to_int(asked.value or 0)
            if fee_cap and asked.from_ and state.get_balance(to_bytes(asked.from_)) <= value:
                raise ChainError("insufficient funds for transfer")
            most = min(limit, GAS_CAP)
            return execution.estimate(fresh, self.message(asked, state, most=most))

        return trial

    def access_list(
        self, request: TransactionRequest, wanted: BlockId, overrides: Overrides = _NOTHING
    ) -> Trial[tuple[list[dict[str, Any]], int, str]]:
        """Return the access list of a request, the gas that it uses with it, and its error."""
        opened = self._trial(wanted, overrides)

        def trial() -> tuple[list[dict[str, Any]], int, str]:
            fresh = opened.begin()
            state = fresh()
            message = self.message(request, state)
            ignored = {message.sender, message.to, state.coinbase, *state.precompiles}
            ignored.update(filter(None, map(transactions.signer, message.authorization_list)))
            return replay.access_list(fresh, message, ignored)

        return trial

    def trace(
        self,
        request: TransactionRequest,
        wanted: BlockId,
        overrides: Overrides,
        config: TraceConfig,
    ) -> Trial[Any]:
        """Execute a request and return its trace."""
        opened, seconds = self._trial(wanted, overrides), timeout_of(config)

        def trial() -> Any:
            fresh = opened.begin(seconds, late=replay.TOO_LATE)
            return replay.trace_message(fresh, self.message(request, fresh()), config)

        return trial

    def _trial(self, wanted: BlockId, overrides: Overrides) -> _Opened:
        return _Opened(self._chain.opener(self._header_of(wanted)), overrides)


class _Opened:
    """The state after a block with the overrides of a call, opened anew for each attempt."""

    def __init__(self, opener: Callable[[float], Any], overrides: Overrides) -> None:
        self._opener, self._overrides = opener, overrides

    def begin(self, seconds: float | None = None, *, late: str = "") -> Callable[[], Any]:
        """Return a function that opens a state for an attempt.

        All attempts together have this many seconds from now; ``late`` is the error after that.
        """
        deadline = time.monotonic() + (TIMEOUT if seconds is None else seconds)

        def fresh() -> Any:
            state = self._opener(deadline)
            state.late = late or state.late
            pretend(state, self._overrides)
            return state

        return fresh

"""Missing fields of a request, filled in as geth does, and the check of contradictions.

Pure functions; they import no py-evm.
"""

from __future__ import annotations

from msgspec.structs import replace

from npipe.ethereum.errors import ChainError
from npipe.ethereum.values.types import TransactionRequest, to_bytes, to_int

__all__ = ["TIP", "call_fees", "check_chain", "check_request", "fees", "with_fees"]

TIP = 10**9  # the default priority fee, in wei per unit of gas

Fees = tuple[int, int | None]
"""The fee cap and the priority fee per unit of gas, in wei; None for the second: a gas price."""


def fees(request: TransactionRequest, base_fee: int) -> Fees:
    """Return the fees of a transaction to be mined, in wei. Raises ChainError."""
    if request.gas_price is not None:
        if base_fee and not to_int(request.gas_price):
            raise ChainError("gasPrice must be non-zero after london fork")
        return _price(request)
    if request.type is not None and to_int(request.type) < 2:
        return base_fee + TIP, None
    tip = TIP if request.max_priority_fee_per_gas is None else to_int(_tip(request))
    if request.max_fee_per_gas is None:
        return 2 * base_fee + tip, tip
    cap = to_int(request.max_fee_per_gas)
    if request.max_priority_fee_per_gas is None:
        tip = min(tip, cap)
    if cap < tip:
        raise ChainError(f"maxFeePerGas ({cap:#x}) < maxPriorityFeePerGas ({tip:#x})")
    return cap, tip


def call_fees(request: TransactionRequest) -> Fees:
    """Return the fees of a call. A missing fee is 0, which makes the call free."""
    if request.gas_price is not None:
        return _price(request)
    tip = to_int(_tip(request))
    cap = tip if request.max_fee_per_gas is None else to_int(request.max_fee_per_gas)
    return cap, tip


def with_fees(request: TransactionRequest, offered: Fees) -> TransactionRequest:
    """Return the request with these fees only."""
    cap, tip = offered
    if tip is None:
        return replace(request, gas_price=cap, max_fee_per_gas=None, max_priority_fee_per_gas=None)
    return replace(request, gas_price=None, max_fee_per_gas=cap, max_priority_fee_per_gas=tip)


def check_request(request: TransactionRequest, chain_id: int) -> None:
    """Raise ChainError if the request contradicts itself or the chain."""
    data, payload = request.data, request.input
    if data is not None and payload is not None and to_bytes(data) != to_bytes(payload):
        raise ChainError(
            'both "data" and "input" are set and not equal. '
            'Please use "input" to pass transaction call data'
        )
    check_chain(request, chain_id)
    wanted = 0 if request.type is None else to_int(request.type)
    if request.blobs or request.blob_versioned_hashes or wanted == 3:
        raise ChainError("signing blob transactions not supported")
    if wanted == 4 and not request.authorization_list:
        raise ChainError("set code transaction must have at least one authorization")
    if wanted > 4:
        raise ChainError("transaction type not supported")
    if not request.target and not request.payload:
        raise ChainError("contract creation without any data provided")


def check_chain(request: TransactionRequest, chain_id: int) -> None:
    """Raise ChainError if the request is for another chain."""
    if request.chain_id is not None and to_int(request.chain_id) != chain_id:
        raise ChainError(
            f"chainId does not match node's (have={to_int(request.chain_id)}, want={chain_id})"
        )


def _price(request: TransactionRequest) -> Fees:
    if request.max_fee_per_gas is not None or request.max_priority_fee_per_gas is not None:
        raise ChainError("both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified")
    return to_int(request.gas_price), None


def _tip(request: TransactionRequest) -> str | int:
    return request.max_priority_fee_per_gas or 0

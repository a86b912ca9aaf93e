"""Signed transactions: decoding, making, signing, and the checks before they are accepted.

The checks and messages are geth's, in about the same order. py-evm makes some of the checks later,
with other messages, and not all of them (a priority fee above the fee, gas below the intrinsic
cost).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import rlp
from eth.abc import SignedTransactionAPI, StateAPI
from eth.exceptions import UnrecognizedTransactionType
from eth.vm.forks.cancun.transactions import UnsignedBlobTransaction
from eth.vm.forks.prague.constants import MAGIC
from eth.vm.forks.prague.transactions import Authorization as SignedAuthorization
from eth.vm.forks.prague.transactions import PragueTransactionBuilder as Builder
from eth_keys import keys
from eth_keys.datatypes import PrivateKey
from eth_keys.exceptions import BadSignature
from eth_utils import ValidationError

from npipe.errors import InvalidParams
from npipe.ethereum.chain.pool import cost_of
from npipe.ethereum.errors import ChainError
from npipe.ethereum.evm import blobs
from npipe.ethereum.evm.addresses import DELEGATION
from npipe.ethereum.evm.gas import MAX_INITCODE, floor_gas, intrinsic_gas
from npipe.ethereum.evm.impersonation import Impersonated, recognized
from npipe.ethereum.evm.kinds import kind_of
from npipe.ethereum.values.types import (
    AccessListEntry,
    Authorization,
    TransactionRequest,
    to_bytes,
    to_int,
)

__all__ = [
    "access_list",
    "authorizations",
    "check",
    "check_against_state",
    "decode",
    "restore",
    "sign",
    "signer",
    "unsigned",
    "without_signature",
]

_LEGACY, _ACCESS_LIST, _DYNAMIC_FEE, _BLOB, _SET_CODE = range(5)
_MAX_NONCE = 2**64 - 2  # EIP-2681
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_LENGTHS = re.compile(r"list length \((\d+)\) does not match sedes \((\d+)\)")  # rlp's message
_GO_TYPES = {1: "AccessListTx", 2: "DynamicFeeTx", 3: "BlobTx", 4: "SetCodeTx"}


def decode(raw: bytes) -> SignedTransactionAPI:
    """Decode a transaction. Raises ChainError with geth's message if it is invalid."""
    if not raw or (len(raw) == 1 and raw[0] < 0x80):
        raise ChainError("typed transaction too short")
    if raw[0] == 0x00 or 0x04 < raw[0] < 0xC0:
        raise ChainError("transaction type not supported")
    if raw[0] == _BLOB:
        raw = blobs.without_sidecar(raw)
    try:
        transaction = Builder.decode(raw)
        if transaction.s > _HALF_ORDER:
            raise ChainError("invalid transaction v, r, s values")
        if transaction.nonce > _MAX_NONCE:
            raise ChainError("nonce has max value")
        transaction.validate()
        if raw[0] == _BLOB and not transaction.to:
            raise ChainError("blob transaction of type create")
    except UnrecognizedTransactionType as error:
        raise ChainError("transaction type not supported") from error
    except (rlp.exceptions.RLPException, ValidationError, TypeError, ValueError) as error:
        raise ChainError(f"rlp: {_reason(error, raw)}") from error
    try:
        _ = transaction.sender
    except (BadSignature, ValidationError) as error:
        raise ChainError("invalid sender") from error
    return transaction


def _reason(error: Exception, raw: bytes) -> str:
    """Return why bytes are no transaction; for common reasons, geth's message."""
    text = str(error)
    if found := _LENGTHS.search(text):
        have, want = map(int, found.groups())
        kind = _GO_TYPES.get(raw[0], "LegacyTx")
        return f"too {'few' if have < want else 'many'} elements for types.{kind}"
    if re.search(r"ends with \d", text):
        return "input contains more than one value"
    if (
        "too short" in text
        or "ends with -" in text
        or (raw[0] > 0xF7 and len(raw) <= raw[0] - 0xF7)
    ):
        return "value size exceeds available input length"
    return text[:200] or type(error).__name__


def restore(raw: bytes) -> SignedTransactionAPI:
    """Restore a transaction from the state file. It was checked when it arrived."""
    return recognized(Builder.decode(raw))


def unsigned(
    request: TransactionRequest,
    *,
    chain_id: int,
    nonce: int,
    gas: int,
    fees: tuple[int, int | None],
) -> Any:
    """Make an unsigned transaction.

    ``fees``: gas price or fee cap, and priority fee (None: legacy).
    """
    fee_cap, tip = fees
    common = {
        "nonce": nonce,
        "gas": gas,
        "to": request.target,
        "value": to_int(request.value or 0),
        "data": request.payload,
    }
    accesses = access_list(request.access_list or ())
    if request.authorization_list:
        if not request.target:
            raise InvalidParams("EIP-7702 transaction cannot be used to create contract")
        return Builder.new_unsigned_set_code_transaction(
            chain_id=chain_id,
            max_fee_per_gas=fee_cap,
            max_priority_fee_per_gas=fee_cap if tip is None else tip,
            access_list=accesses,
            authorization_list=authorizations(request.authorization_list),
            **common,
        )
    if request.blob_versioned_hashes is not None:
        return UnsignedBlobTransaction(
            chain_id,
            nonce,
            fee_cap if tip is None else tip,
            fee_cap,
            gas,
            request.target,
            common["value"],
            common["data"],
            accesses,
            to_int(request.max_fee_per_blob_gas or 0),
            [to_bytes(each) for each in request.blob_versioned_hashes],
        )
    if tip is not None:
        return Builder.new_unsigned_dynamic_fee_transaction(
            chain_id=chain_id,
            max_fee_per_gas=fee_cap,
            max_priority_fee_per_gas=tip,
            access_list=accesses,
            **common,
        )
    if request.access_list is not None or _wanted_type(request) == _ACCESS_LIST:
        return Builder.new_unsigned_access_list_transaction(
            chain_id=chain_id, gas_price=fee_cap, access_list=accesses, **common
        )
    return Builder.create_unsigned_transaction(gas_price=fee_cap, **common)


def _wanted_type(request: TransactionRequest) -> int | None:
    return None if request.type is None else to_int(request.type)


def without_signature(unsigned: Any) -> bytes:
    """Return the bytes of a transaction with zeros in place of a signature."""
    fields = rlp.decode(rlp.encode(unsigned))
    kind = kind_of(unsigned)
    return (bytes([kind]) if kind else b"") + bytes(rlp.encode([*fields, b"", b"", b""]))


def sign(unsigned: Any, key: PrivateKey, chain_id: int) -> SignedTransactionAPI:
    """Sign a result of ``unsigned``."""
    # Through its bytes: py-evm's older kinds of transaction sign into an older fork's class.
    return decode(unsigned.as_signed_transaction(key, chain_id=chain_id).encode())


def check(transaction: SignedTransactionAPI, *, chain_id: int, gas_limit: int) -> None:
    """Raise ChainError if no state could make the transaction valid."""
    signed_for = transaction.chain_id
    if signed_for is not None and signed_for != chain_id:
        raise ChainError(
            f"invalid sender: invalid chain id for signer: have {signed_for} want {chain_id}"
        )
    if transaction.gas > gas_limit:
        raise ChainError("exceeds block gas limit")
    if not transaction.to and len(transaction.data) > MAX_INITCODE:
        raise ChainError(
            f"max initcode size exceeded: code size {len(transaction.data)}, limit {MAX_INITCODE}"
        )
    if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
        raise ChainError(
            "max priority fee per gas higher than max fee per gas: "
            f"tip {transaction.max_priority_fee_per_gas}, cap {transaction.max_fee_per_gas}"
        )
    least = intrinsic_gas(transaction)
    if transaction.gas < least:
        raise ChainError(f"intrinsic gas too low: gas {transaction.gas}, minimum needed {least}")
    floor = floor_gas(transaction.data)
    if transaction.gas < floor:
        raise ChainError(
            "insufficient gas for floor data gas cost: "
            f"gas {transaction.gas}, minimum needed {floor}"
        )


def check_against_state(transaction: SignedTransactionAPI, state: StateAPI, spent: int) -> None:
    """Raise ChainError if the sender cannot send this now.

    ``spent``: cost of pending ones, in wei.
    """
    sender = transaction.sender
    following = state.get_nonce(sender)
    if transaction.nonce < following:
        raise ChainError(f"nonce too low: next nonce {following}, tx nonce {transaction.nonce}")
    code = state.get_code(sender)
    if code and not (code.startswith(DELEGATION) or isinstance(transaction, Impersonated)):
        raise ChainError(f"sender not an eoa: address 0x{sender.hex()}")
    balance = state.get_balance(sender)
    cost = cost_of(transaction) + spent
    if balance < cost:
        raise ChainError(
            "insufficient funds for gas * price + value: "
            f"balance {balance}, tx cost {cost}, overshot {cost - balance}"
        )


def access_list(entries: Sequence[AccessListEntry]) -> list[tuple[bytes, list[int]]]:
    """Convert an access list to py-evm's form."""
    return [
        (to_bytes(entry.address), [to_int(key) for key in entry.storage_keys]) for entry in entries
    ]


def authorizations(entries: Sequence[Authorization]) -> list[SignedAuthorization]:
    """Convert authorizations (EIP-7702) to py-evm's form."""
    return [
        SignedAuthorization(
            chain_id=to_int(entry.chain_id),
            address=to_bytes(entry.address),
            nonce=to_int(entry.nonce),
            y_parity=_parity(entry),
            r=to_int(entry.r),
            s=to_int(entry.s),
        )
        for entry in entries
    ]


def signer(permission: SignedAuthorization) -> bytes | None:
    """Return the signer of an authorization; None if its signature is invalid."""
    message = MAGIC + rlp.encode([permission.chain_id, permission.address, permission.nonce])
    try:
        signature = keys.Signature(vrs=(permission.y_parity, permission.r, permission.s))
        return bytes(signature.recover_public_key_from_msg(message).to_canonical_address())
    except (BadSignature, ValidationError, ValueError):
        return None


def _parity(entry: Authorization) -> int:
    if entry.y_parity is not None:
        return to_int(entry.y_parity)
    return (to_int(entry.v or 0) - 27) % 2

"""Blobs (EIP-4844): their price, and the verification of their proofs.

A chain stores only the hashes of a transaction's blobs. The blobs arrive with the transaction, are
verified here, and are discarded. Imports py-evm only when there is a blob to verify.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from npipe.ethereum.errors import ChainError

__all__ = [
    "CANCUN",
    "GAS_PER_BLOB",
    "MAX_GAS",
    "PRAGUE",
    "BlobSchedule",
    "base_fee",
    "gas_of",
    "without_sidecar",
]

GAS_PER_BLOB = 131_072
_KIND = b"\x03"
_BLOB_SIZE, _POINT_SIZE = 131_072, 48  # bytes
_FIELDS = 14  # fields of the transaction itself
_CELLS = 128  # cells of a blob


@dataclass(frozen=True, slots=True)
class BlobSchedule:
    """The number of blobs in a block, and how their price follows demand (EIP-7840)."""

    target: int  # blobs in a block at which the price stays constant
    max: int
    fraction: int  # the update fraction: a larger one makes the price follow more slowly

    @property
    def max_gas(self) -> int:
        """Return the maximum blob gas of one block."""
        return self.max * GAS_PER_BLOB

    def base_fee(self, excess: int) -> int:
        """Return the price of a unit of blob gas, in wei, in a block with this ``excess_blob_gas``.

        It is an exponential of the excess, computed in integers by the series of EIP-4844.
        """
        total, term, step = 0, self.fraction, 1
        while term > 0:
            total += term
            term = term * excess // (self.fraction * step)
            step += 1
        return total // self.fraction


CANCUN = BlobSchedule(3, 6, 3_338_477)
PRAGUE = BlobSchedule(6, 9, 5_007_716)  # EIP-7691
MAX_GAS = PRAGUE.max_gas
base_fee: Callable[[int], int] = PRAGUE.base_fee


def gas_of(transaction: Any) -> int:
    """Return the blob gas that a transaction uses."""
    if transaction.type_id != 3:
        return 0
    return GAS_PER_BLOB * len(transaction.blob_versioned_hashes)


def without_sidecar(raw: bytes) -> bytes:
    """Verify the blobs of a sent transaction, and return it in the form that a block has.

    The sent form is a list of the transaction, its blobs, and a commitment and a proof for each;
    or, with the number 1 in second place, a proof for each cell of each blob (EIP-7594). Wallets
    send the second form already, so it is accepted before the fork that requires it. Raises
    ChainError.
    """
    import rlp

    try:
        parts = rlp.decode(raw[1:])
    except rlp.exceptions.RLPException as error:
        raise ChainError(f"rlp: {error}") from error
    if not isinstance(parts, list) or not parts:
        raise ChainError("unexpected EOF")
    if not isinstance(parts[0], list):
        if len(parts) < _FIELDS:
            raise ChainError("rlp: too few elements for types.BlobTx")
        raise ChainError("missing sidecar in blob transaction")
    in_cells = len(parts) == 5 and parts[1] == b"\x01"
    if in_cells:
        del parts[1]
    if len(parts) != 4 or not all(map(_is_list_of_bytes, parts[1:])):
        raise ChainError("rlp: not a blob transaction with its blobs, commitments and proofs")
    transaction, blobs, commitments, proofs = parts
    hashes = transaction[10] if len(transaction) > 10 else []
    if not _is_list_of_bytes(hashes) or not hashes:
        raise ChainError("blobless blob transaction")
    _check_sizes(len(hashes), blobs, commitments, proofs, _CELLS if in_cells else 1)
    for at, (commitment, wanted) in enumerate(zip(commitments, hashes, strict=True)):
        computed = b"\x01" + hashlib.sha256(commitment).digest()[1:]
        if computed != wanted:
            raise ChainError(
                f"blob {at}: computed hash 0x{computed.hex()} mismatches "
                f"transaction one 0x{wanted.hex()}"
            )
    _verify(blobs, commitments, proofs, in_cells)
    return _KIND + bytes(rlp.encode(transaction))


def _is_list_of_bytes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, bytes) for item in value)


def _check_sizes(
    count: int,
    blobs: list[bytes],
    commitments: list[bytes],
    proofs: list[bytes],
    proofs_each: int,
) -> None:
    """Raise ChainError if the number or the length of blobs, commitments and proofs is wrong."""
    if count * GAS_PER_BLOB > MAX_GAS:
        most = MAX_GAS // GAS_PER_BLOB
        raise ChainError(f"too many blobs in transaction: have {count}, permitted {most}")
    for what, items, wanted, size in (
        ("blob", blobs, count, _BLOB_SIZE),
        ("commitment", commitments, count, _POINT_SIZE),
        ("proof", proofs, count * proofs_each, _POINT_SIZE),
    ):
        if len(items) != wanted:
            raise ChainError(f"invalid number of {len(items)} {what}s: {count} blob hashes")
        if any(len(item) != size for item in items):
            raise ChainError(f"invalid blob: a {what} has {size} bytes")


def _verify(
    blobs: list[bytes], commitments: list[bytes], proofs: list[bytes], in_cells: bool
) -> None:
    import ckzg

    try:
        if in_cells:
            cells = [cell for blob in blobs for cell in ckzg.compute_cells(blob, _setup())]
            each = [commitment for commitment in commitments for _ in range(_CELLS)]
            places = list(range(_CELLS)) * len(blobs)
            good = ckzg.verify_cell_kzg_proof_batch(each, places, cells, proofs, _setup())
        else:
            joined = (b"".join(blobs), b"".join(commitments), b"".join(proofs))
            good = ckzg.verify_blob_kzg_proof_batch(*joined, _setup())
    except (RuntimeError, TypeError, ValueError) as error:  # not a point of the curve
        raise ChainError(f"invalid blob: {error}") from error
    if not good:
        raise ChainError("invalid blob: can't verify opening proof")


@functools.cache
def _setup() -> Any:
    """Load the trusted setup of the KZG ceremony, once. This takes about 100 ms."""
    import ckzg
    from eth.precompiles.point_evaluation import TRUSTED_SETUP_PATH

    return ckzg.load_trusted_setup(TRUSTED_SETUP_PATH, 0)

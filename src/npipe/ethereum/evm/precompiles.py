"""The precompiled contracts that can run long, changed to stop at the deadline of a call.

py-evm runs them in Python: a call may request millions of rounds of BLAKE2b of some microseconds
each, and hundreds of pairings of 0.1 s or more each. Here the same steps check the clock in between
(``State.tick``). Gas and results are py-evm's.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable, Mapping
from typing import Any

from eth import constants
from eth._utils.blake2.coders import extract_blake2b_parameters
from eth._utils.blake2.compression import Blake2b
from eth.exceptions import VMError
from eth.precompiles.bls12_381 import bls12_381_g1 as g1
from eth.precompiles.bls12_381 import bls12_381_g2 as g2
from eth.precompiles.bls12_381 import bls12_381_pairing as bls
from eth.precompiles.bls12_381.constants import (
    BLS12_G1_MSM_GAS,
    BLS12_G2_MSM_GAS,
    G1_MSM_DISCOUNTS,
    G1_MSM_MAX_DISCOUNT,
    G2_MSM_DISCOUNTS,
    G2_MSM_MAX_DISCOUNT,
    MSM_MULTIPLIER,
)
from eth_utils import ValidationError
from py_ecc.optimized_bls12_381.optimized_pairing import final_exponentiate

__all__ = ["with_clock"]

# Not `from eth.precompiles import ecpairing`: that is the function of the same name.
_ecpairing: Any = importlib.import_module("eth.precompiles.ecpairing")

Precompile = Callable[[Any], Any]

_BLAKE2F, _BN128_PAIRING = 0x09, 0x08
_G1_MSM, _G2_MSM, _BLS_PAIRING = 0x0C, 0x0E, 0x0F
_ROUNDS = 256  # rounds of BLAKE2b between two checks of the clock: about ten milliseconds
_MASK = 2**64 - 1


def with_clock(precompiles: Mapping[bytes, Precompile]) -> dict[bytes, Precompile]:
    """Return a fork's precompiles, with those replaced that can run long."""
    result = {}
    for address, precompile in precompiles.items():
        replace = _REPLACED.get(int.from_bytes(address, "big"))
        result[address] = _named(replace(precompile) if replace else precompile)
    return result


def _named(precompile: Precompile) -> Precompile:
    """Return the precompile with geth's error messages."""

    def run(computation: Any) -> Any:
        try:
            return precompile(computation)
        except VMError as error:
            if type(error) is not VMError:  # out of gas has a message of its own
                raise
            raise VMError(_words(error, computation.msg.data_as_bytes)) from error

    return run


def _words(error: VMError, octets: bytes) -> str:
    text = f"{error} {error.__context__ or ''}".lower()
    words = next((words for found, words in _WORDS.items() if found in text), "invalid input")
    if (words == _ENCODING and "coordinate" in text) or "x >=" in text or "y >=" in text:
        # An element of BLS12-381 has 48 bytes in 64; either part may be too large.
        tops = (octets[at : at + 16] for at in range(0, len(octets) - 63, 64))
        return "invalid field element top bytes" if any(map(any, tops)) else words
    return words


_ENCODING = "invalid fp.Element encoding"
#: A part of py-evm's message, and geth's message; the first match counts.
_WORDS = {
    "final block indicator": "invalid final flag",
    "bad elliptic curve pairing size": "bad elliptic curve pairing size",
    "input length": "invalid input length",
    "length of data": "invalid input length",
    "versioned hash": "mismatched versioned hash",
    "kzg proof": "error verifying kzg proof",
    "modulus": _ENCODING,
    "g2 point": "g2 point is not on correct subgroup",
    "sub-group": "g1 point is not on correct subgroup",
    "parameters": "point is not on curve",
    "point is not on curve": "invalid point: not on curve",
}


def _blake2f(_: Precompile) -> Precompile:
    return _compress


def _compress(computation: Any) -> Any:
    """Compute the compression function F of BLAKE2b (EIP-152, RFC 7693), 1 gas per round."""
    try:
        parameters: Any = extract_blake2b_parameters(computation.msg.data_as_bytes)
    except ValidationError as error:
        raise VMError(f"Blake2b input parameter validation failure: {error}") from error
    computation.consume_gas(parameters[0], reason="Blake2b compression")
    rounds, state, message, offset, final = parameters
    computation.output = _f(rounds, state, message, offset, final, computation.state.tick)
    return computation


def _f(  # noqa: PLR0917 - the parameters of RFC 7693, in its order
    rounds: int,
    state: tuple[int, ...],
    message: tuple[int, ...],
    offset: tuple[int, int],
    final: bool,
    tick: Callable[[], None],
) -> bytes:
    vector = [*state, *Blake2b.IV]
    vector[12] ^= offset[0]
    vector[13] ^= offset[1]
    if final:
        vector[14] ^= _MASK
    schedule = Blake2b.sigma_schedule
    for number in range(rounds):
        if not number % _ROUNDS:
            tick()
        words = [message[place] for place in schedule[number % 10]]
        for at, places in enumerate(_MIXED):
            _mix(vector, *places, words[2 * at], words[2 * at + 1])
    result = (state[at] ^ vector[at] ^ vector[at + 8] for at in range(8))
    return struct.pack("<8Q", *result)


#: The columns of the state, then its diagonals.
_MIXED = (
    *((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)),
    *((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)),
)


def _mix(v: list[int], a: int, b: int, c: int, d: int, x: int, y: int) -> None:  # noqa: PLR0917
    """Mix two words of the message into four words of the state: the function G."""
    va = (v[a] + v[b] + x) & _MASK
    vd = v[d] ^ va
    vd = (vd >> 32) | (vd << 32) & _MASK
    vc = (v[c] + vd) & _MASK
    vb = v[b] ^ vc
    vb = (vb >> 24) | (vb << 40) & _MASK
    va = (va + vb + y) & _MASK
    vd ^= va
    vd = (vd >> 16) | (vd << 48) & _MASK
    vc = (vc + vd) & _MASK
    vb ^= vc
    v[a], v[b], v[c], v[d] = va, (vb >> 63) | (vb << 1) & _MASK, vc, vd


def _bn128_pairing(original: Precompile) -> Precompile:
    """Check a product of pairings on alt_bn128 (EIP-197), at the fork's prices."""
    options = getattr(original, "keywords", None) or {}
    base = options.get("gas_cost_base", constants.GAS_ECPAIRING_BASE)
    each = options.get("gas_cost_per_point", constants.GAS_ECPAIRING_PER_POINT)

    def check(computation: Any) -> Any:
        octets = computation.msg.data_as_bytes
        if len(octets) % 192:
            raise VMError("bad elliptic curve pairing size")
        computation.consume_gas(base + len(octets) // 192 * each, reason="ECPAIRING Precompile")
        product = _ecpairing.bn128.FQ12.one()
        try:
            for at in range(0, len(octets), 192):
                computation.state.tick()
                product = _ecpairing._process_point(octets[at : at + 192])(product)
        except ValidationError as error:
            raise VMError("Invalid ECPAIRING parameters") from error
        is_one = _ecpairing.bn128.final_exponentiate(product) == _ecpairing.bn128.FQ12.one()
        computation.output = is_one.to_bytes(32, "big")
        return computation

    return check


def _bls_pairing(_: Precompile) -> Precompile:
    return _check_pairing


def _check_pairing(computation: Any) -> None:
    """Check whether a product of pairings on BLS12-381 is one (EIP-2537)."""
    octets = computation.msg.data_as_bytes
    if not octets or len(octets) % 384:
        raise VMError("Length of data must be a multiple of 384 bytes for BLS12_PAIRING_CHECK")
    computation.consume_gas(32_600 * (len(octets) // 384) + 37_700, "BLS12_PAIRING_CHECK gas")
    product = bls.FQ12.one()
    for at in range(0, len(octets), 384):
        computation.state.tick()
        first = bls.bytes_to_g1_optimized_point3D(octets[at : at + 128])
        second = bls.bytes_to_g2_optimized_point3D(octets[at + 128 : at + 384])
        for name, point in (("G1", first), ("G2", second)):
            if not bls.is_inf(bls.bls12_multiply_optimized(point, bls.curve_order)):
                raise VMError(f"{name} point: sub-group check failed")
        product *= bls.pairing(second, first, final_exponentiate=False)
    is_one = final_exponentiate(product) == bls.FQ12.one()
    computation.output = is_one.to_bytes(32, "big")


def _sum_of_products(
    *,
    size: int,
    gas: int,
    discounts: Any,
    most: int,
    decode: Callable[[bytes], Any],
    multiply: Callable[..., Any],
    add: Callable[..., Any],
    encode: Callable[[Any], bytes],
) -> Callable[[Precompile], Precompile]:
    """Compute a multi-scalar multiplication on a group of BLS12-381 (EIP-2537)."""

    def run(computation: Any) -> None:
        octets = computation.msg.data_as_bytes
        if not octets or len(octets) % size:
            raise VMError(f"Length of data must be a multiple of {size} bytes")
        count = len(octets) // size
        discount = discounts[count - 1] if count <= len(discounts) else most
        computation.consume_gas(count * gas * discount // MSM_MULTIPLIER, "BLS12 MSM gas")
        total = None
        for at in range(0, len(octets), size):
            computation.state.tick()
            product = multiply(*decode(octets[at : at + size]))
            total = product if total is None else add(total, product)
        computation.output = encode(total)

    return lambda _: run


_REPLACED: dict[int, Callable[[Precompile], Precompile]] = {
    _BLAKE2F: _blake2f,
    _BN128_PAIRING: _bn128_pairing,
    _BLS_PAIRING: _bls_pairing,
    _G1_MSM: _sum_of_products(
        size=g1.MSM_LEN_PER_PAIR,
        gas=BLS12_G1_MSM_GAS,
        discounts=G1_MSM_DISCOUNTS,
        most=G1_MSM_MAX_DISCOUNT,
        decode=g1.decode_g1_scalar_pair,
        multiply=g1.bls12_multiply_optimized,
        add=g1.bls12_add_optimized,
        encode=g1.g1_optimized_3d_to_bytes,
    ),
    _G2_MSM: _sum_of_products(
        size=g2.MSM_LEN_PER_PAIR,
        gas=BLS12_G2_MSM_GAS,
        discounts=G2_MSM_DISCOUNTS,
        most=G2_MSM_MAX_DISCOUNT,
        decode=g2.decode_G2_scalar_pair,
        multiply=g2.bls12_multiply_optimized,
        add=g2.bls12_add_optimized,
        encode=g2.g2_optimized_3d_to_bytes,
    ),
}

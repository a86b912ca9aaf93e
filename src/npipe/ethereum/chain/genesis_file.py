"""A chain that was made elsewhere: its genesis file as geth writes it, and its blocks in RLP.

The genesis file has the forks with their activation times, and the accounts of the first block.
``npipe serve --genesis FILE --import FILE`` serves such a chain.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from eth.abc import BlockAPI, BlockHeaderAPI
from eth_utils import ValidationError
from rlp import codec
from rlp.exceptions import RLPException

from npipe.ethereum.chain.block import decoded
from npipe.ethereum.chain.genesis import NO_ROOT, GenesisAccount
from npipe.ethereum.evm.forks import Forks

__all__ = ["Genesis", "blocks_of", "genesis_of"]

_GAS_LIMIT, _DIFFICULTY, _BASE_FEE = 4_712_388, 131_072, 10**9  # the defaults of geth


@dataclass(frozen=True, slots=True)
class Genesis:
    """The contents of a genesis file."""

    chain_id: int
    forks: Forks
    header: BlockHeaderAPI  # without the state root
    accounts: Mapping[bytes, GenesisAccount]


def genesis_of(octets: bytes) -> Genesis:
    """Read a genesis file. Raises ValueError with the reason if it is invalid."""
    try:
        told = msgspec.json.decode(octets)
    except msgspec.DecodeError as error:
        raise ValueError(f"the genesis file is not valid JSON: {error}") from None
    if not isinstance(told, dict) or not isinstance(told.get("config"), dict):
        raise ValueError('the genesis file has no object "config"')
    config = told["config"]
    chain_id = _number(config, "chainId", 1)
    forks = Forks.of(config)
    try:
        header = _header(told, forks)
    except ValidationError as error:
        raise ValueError(f"the genesis file: {error}") from None
    alloc = told.get("alloc") or {}
    if not isinstance(alloc, dict):
        raise ValueError('the genesis file: "alloc" is not an object')
    return Genesis(chain_id, forks, header, dict(_account(*item) for item in alloc.items()))


def blocks_of(octets: bytes, forks: Forks) -> Iterator[BlockAPI]:
    """Yield the blocks of a file in order, without the first block of the chain.

    Raises ValueError at data that is not a block.
    """
    at, count = 0, 0
    while at < len(octets):
        try:
            _, _, size, start = codec.consume_length_prefix(octets, at)
            after = start + size
            if after > len(octets):
                raise ValueError("the file ends within this block")
            block = decoded(octets[at:after], forks)
        except (RLPException, ValidationError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"the data after {count} blocks is not a block: {error}") from error
        if block.number:
            yield block
        at, count = after, count + 1


def _header(told: Mapping[str, Any], forks: Forks) -> BlockHeaderAPI:
    timestamp = _number(told, "timestamp", 0)
    fork = forks.at(_number(told, "number", 0), timestamp)
    rules = fork.machine.get_state_class().rules
    fields: dict[str, Any] = {
        "difficulty": _number(told, "difficulty", _DIFFICULTY),
        "gas_limit": _number(told, "gasLimit", _GAS_LIMIT),
        "timestamp": timestamp,
        "coinbase": _octets(told, "coinbase", bytes(20)),
        "extra_data": _octets(told, "extraData", b""),
        "mix_hash": _octets(told, "mixHash", bytes(32)),
        "nonce": _number(told, "nonce", 0).to_bytes(8, "big"),
        "gas_used": _number(told, "gasUsed", 0),
        "parent_hash": _octets(told, "parentHash", bytes(32)),
    }
    if rules.base_fee:
        fields["base_fee_per_gas"] = _number(told, "baseFeePerGas", _BASE_FEE)
    if fork.blobs is not None:
        fields["blob_gas_used"] = _number(told, "blobGasUsed", 0)
        fields["excess_blob_gas"] = _number(told, "excessBlobGas", 0)
        fields["parent_beacon_block_root"] = NO_ROOT
    difficulty, gas_limit = fields.pop("difficulty"), fields.pop("gas_limit")
    header = fork.machine.create_genesis_header(
        difficulty=difficulty, gas_limit=gas_limit, timestamp=fields.pop("timestamp")
    )
    return header.copy(difficulty=difficulty, gas_limit=gas_limit, **fields)


def _account(name: str, told: Any) -> tuple[bytes, GenesisAccount]:
    if not isinstance(told, dict):
        raise ValueError(f"the genesis file: the account {name} is not an object")
    address = _octets({"address": name}, "address", b"")
    if len(address) != 20:
        raise ValueError(f"the genesis file: {name} is not an address")
    storage = told.get("storage") or {}
    return address, GenesisAccount(
        balance=_number(told, "balance", 0),
        nonce=_number(told, "nonce", 0),
        code=_octets(told, "code", b""),
        storage={_number({"slot": key}, "slot", 0): _number(storage, key, 0) for key in storage},
    )


def _number(told: Mapping[str, Any], name: str, default: int) -> int:
    """Return a number that is given as a number or as text in hex or decimal."""
    value = told.get(name)
    if value is None:
        return default
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**256:
        raise ValueError(f"the genesis file: {name}: {value!r} is not a number")
    return number


def _octets(told: Mapping[str, Any], name: str, default: bytes) -> bytes:
    """Return the bytes of a hex string, with or without the prefix 0x."""
    value = told.get(name)
    if value is None:
        return default
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, ValueError):
        raise ValueError(f"the genesis file: {name}: {value!r} is not hex") from None

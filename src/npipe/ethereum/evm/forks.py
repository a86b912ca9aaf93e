"""The forks of a chain: the rules of each block, and py-evm's machine for each fork.

A chain made here has the rules of Prague from its first block on. An imported chain has its own
schedule in the ``config`` of a genesis file as geth writes it: forks by block number up to the
merge, by timestamp after it. py-evm ends at Prague; of Osaka and the blob parameter forks, only the
rules about blobs are implemented (EIP-7892, EIP-7918).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth.vm.forks import (
    ArrowGlacierVM,
    BerlinVM,
    ByzantiumVM,
    CancunVM,
    ConstantinopleVM,
    FrontierVM,
    GrayGlacierVM,
    HomesteadVM,
    IstanbulVM,
    LondonVM,
    MuirGlacierVM,
    ParisVM,
    PetersburgVM,
    PragueVM,
    ShanghaiVM,
    SpuriousDragonVM,
    TangerineWhistleVM,
)
from eth.vm.forks.shanghai.withdrawals import Withdrawal

from npipe.ethereum.evm.blobs import CANCUN, GAS_PER_BLOB, PRAGUE, BlobSchedule
from npipe.ethereum.evm.machine import adapt

__all__ = ["Fork", "Forks", "withdrawal"]

_BLOB_BASE_COST = 1 << 13  # EIP-7918


@dataclass(frozen=True, slots=True)
class Fork:
    """One fork: its name, its machine, and its activation."""

    name: str
    vm: Any
    block: int | None = 0
    time: int | None = None
    blobs: BlobSchedule | None = None

    @property
    def machine(self) -> Any:
        """Return py-evm's machine, adapted."""
        return adapt(self.vm) if self.blobs is None else adapt(self.vm, self.blobs)

    @property
    def precompiles(self) -> Mapping[bytes, Any]:
        """Return the precompiled contracts by address."""
        found: Mapping[bytes, Any] = self.machine.get_state_class().precompiles
        return found

    def holds(self, number: int, timestamp: int) -> bool:
        """Tell whether a block of this number and time has the rules of this or a later fork."""
        if self.time is not None:
            return timestamp >= self.time
        return self.block is not None and number >= self.block

    def excess_blob_gas(self, parent: Any) -> int:
        """Return the excess blob gas of the block after ``parent`` (EIP-4844, EIP-7918)."""
        assert self.blobs is not None
        excess = int(getattr(parent, "excess_blob_gas", 0)) + int(
            getattr(parent, "blob_gas_used", 0)
        )
        target = self.blobs.target * GAS_PER_BLOB
        if excess < target:
            return 0
        if self.name in _BEFORE_OSAKA:
            return excess - target
        price = self.blobs.base_fee(parent.excess_blob_gas)
        if _BLOB_BASE_COST * parent.base_fee_per_gas > GAS_PER_BLOB * price:
            share = self.blobs.max - self.blobs.target
            return int(parent.excess_blob_gas) + int(parent.blob_gas_used) * share // self.blobs.max
        return excess - target


_BY_BLOCK = (
    ("homestead", "homesteadBlock", HomesteadVM),
    ("dao", "daoForkBlock", HomesteadVM),  # no rules of its own, but part of the fork hash
    ("tangerineWhistle", "eip150Block", TangerineWhistleVM),
    ("spuriousDragon", "eip158Block", SpuriousDragonVM),
    ("byzantium", "byzantiumBlock", ByzantiumVM),
    ("constantinople", "constantinopleBlock", ConstantinopleVM),
    ("petersburg", "petersburgBlock", PetersburgVM),
    ("istanbul", "istanbulBlock", IstanbulVM),
    ("muirGlacier", "muirGlacierBlock", MuirGlacierVM),
    ("berlin", "berlinBlock", BerlinVM),
    ("london", "londonBlock", LondonVM),
    ("arrowGlacier", "arrowGlacierBlock", ArrowGlacierVM),
    ("grayGlacier", "grayGlacierBlock", GrayGlacierVM),
    ("paris", "mergeNetsplitBlock", ParisVM),
)
_BY_TIME = (
    ("shanghai", ShanghaiVM, None),
    ("cancun", CancunVM, CANCUN),
    ("prague", PragueVM, PRAGUE),
    ("osaka", PragueVM, PRAGUE),
    *((f"bpo{number}", PragueVM, PRAGUE) for number in range(1, 6)),
)
_BEFORE_OSAKA = ("cancun", "prague")


class Forks:
    """The forks of a chain, oldest first."""

    def __init__(self, forks: Sequence[Fork] = (Fork("prague", PragueVM, blobs=PRAGUE),)) -> None:
        self._forks = tuple(forks)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Forks:
        """Return the forks of a genesis file's ``config``.

        Raises ValueError for an unknown fork.
        """
        forks = [Fork("frontier", FrontierVM)]
        for name, key, vm in _BY_BLOCK:
            if config.get(key) is not None:
                forks.append(Fork(name, vm, block=_number(config, key)))
        if not config.get("terminalTotalDifficulty", 1):
            forks.append(Fork("paris", ParisVM))
        schedules = config.get("blobSchedule") or {}
        for name, vm, schedule in _BY_TIME:
            if config.get(f"{name}Time") is not None:
                given = schedules.get(name)
                blobs = schedule if given is None else _schedule(given)
                forks.append(
                    Fork(name, vm, time=_number(config, f"{name}Time"), blobs=blobs),
                )
        return cls(forks)

    def at(self, number: int, timestamp: int) -> Fork:
        """Return the fork of a block by number and time."""
        return next(fork for fork in reversed(self._forks) if fork.holds(number, timestamp))

    def of_header(self, header: Any) -> Fork:
        """Return the fork of a header."""
        return self.at(header.block_number, header.timestamp)

    def after(self, fork: Fork) -> Fork | None:
        """Return the next fork that is scheduled by time; None if there is none."""
        later = self._forks[self._forks.index(fork) + 1 :]
        return next((each for each in later if each.time is not None), None)

    def identifier(self, fork: Fork, genesis: bytes, start: int) -> bytes:
        """Return the fork hash by which nodes recognise a chain (EIP-2124, EIP-6122), 4 bytes.

        ``genesis`` is the hash of the first block, ``start`` its time; forks active at that time
        are left out.
        """
        passed = self._forks[: self._forks.index(fork) + 1]
        blocks = sorted({each.block for each in passed if each.time is None and each.block})
        times = sorted(
            {each.time for each in passed if each.time is not None and each.time > start}
        )
        checksum = zlib.crc32(genesis)
        for point in (*blocks, *times):
            checksum = zlib.crc32(point.to_bytes(8, "big"), checksum)
        return checksum.to_bytes(4, "big")

    @property
    def last(self) -> Fork:
        """Return the last scheduled fork."""
        return self._forks[-1]


def _number(config: Mapping[str, Any], key: str) -> int:
    value = config[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"config.{key}: expected a number, not {value!r}")
    return value


def _schedule(given: Any) -> BlobSchedule:
    try:
        return BlobSchedule(
            int(given["target"]), int(given["max"]), int(given["baseFeeUpdateFraction"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"config.blobSchedule: {given!r} is not a blob schedule") from error


def withdrawal(index: int, validator_index: int, address: bytes, amount: int) -> Any:
    """Make a withdrawal of a block (EIP-4895); ``amount`` is in gwei."""
    return Withdrawal(index, validator_index, address, amount)

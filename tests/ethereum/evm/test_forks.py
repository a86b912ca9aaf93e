"""The forks of a chain: which rules hold when, and the identifiers of EIP-2124."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from npipe.ethereum.evm.forks import Forks

MAINNET = {
    "homesteadBlock": 1_150_000,
    "daoForkBlock": 1_920_000,
    "eip150Block": 2_463_000,
    "eip158Block": 2_675_000,
    "byzantiumBlock": 4_370_000,
    "constantinopleBlock": 7_280_000,
    "petersburgBlock": 7_280_000,
    "istanbulBlock": 9_069_000,
    "muirGlacierBlock": 9_200_000,
    "berlinBlock": 12_244_000,
    "londonBlock": 12_965_000,
    "arrowGlacierBlock": 13_773_000,
    "grayGlacierBlock": 15_050_000,
    "shanghaiTime": 1_681_338_455,
    "cancunTime": 1_710_338_135,
    "pragueTime": 1_746_612_311,
}
GENESIS = bytes.fromhex("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3")


@pytest.mark.parametrize(
    ("number", "timestamp", "name", "identifier"),
    [
        (0, 0, "frontier", "fc64ec04"),
        (1_149_999, 0, "frontier", "fc64ec04"),
        (1_150_000, 0, "homestead", "97c2c34c"),
        (1_920_000, 0, "dao", "91d1f948"),
        (2_675_000, 0, "spuriousDragon", "3edd5b10"),
        (7_280_000, 0, "petersburg", "668db0af"),
        (12_965_000, 0, "london", "b715077d"),
        (15_050_000, 1_681_338_454, "grayGlacier", "f0afd0e3"),
        (20_000_000, 1_681_338_455, "shanghai", "dce96c2d"),
        (20_000_000, 1_710_338_135, "cancun", "9f3d2254"),
        (30_000_000, 1_746_612_311, "prague", "c376cf8b"),
    ],
)
def test_the_forks_of_mainnet_have_the_identifiers_of_eip_2124(
    number: int, timestamp: int, name: str, identifier: str
) -> None:
    forks = Forks.of(MAINNET)
    fork = forks.at(number, timestamp)
    assert fork.name == name
    assert forks.identifier(fork, GENESIS, 0).hex() == identifier


def test_what_is_scheduled_follows() -> None:
    forks = Forks.of(MAINNET)
    shanghai = forks.at(20_000_000, 1_681_338_455)
    following = forks.after(shanghai)
    assert following is not None
    assert (following.name, forks.last.name) == ("cancun", "prague")
    assert forks.after(forks.last) is None


def test_the_excess_of_blobs_is_what_is_above_the_target() -> None:
    cancun = Forks.of(MAINNET).at(20_000_000, 1_710_338_135)
    blob = 131_072

    def parent(excess: int, used: int) -> Any:
        return SimpleNamespace(excess_blob_gas=excess * blob, blob_gas_used=used * blob)

    assert [cancun.excess_blob_gas(parent(*each)) // blob for each in ((0, 3), (0, 6), (9, 0))] == [
        *(0, 3, 6),
    ]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"londonBlock": "1"}, "config.londonBlock: expected a number, not '1'"),
        ({"cancunTime": -1}, "config.cancunTime: expected a number"),
        ({"cancunTime": 0, "blobSchedule": {"cancun": {"max": 1}}}, "is not a blob schedule"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(config: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Forks.of(config)

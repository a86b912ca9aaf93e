"""The precompiles that look at the clock have py-evm's results and gas, and geth's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ethereum.node.test_trials import PAIR
from ethereum.nodes import Node

machine = pytest.importorskip(
    "npipe.ethereum.evm.machine", reason='the chain needs the extra "ethereum"'
)

NEGATIVE = PAIR[:64] + f"{0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD45:064x}"
BLAKE = (
    "48c9bdf267e6096a3ba7ca8485ae67bb2bf894fe72f36e3cf1361d5f3af54fa5"
    "d182e6ad7f520e511f6c3e2b8c68059b6bbd41fbabd9831f79217e1319cde05b"
    "6162630000000000" + "00" * 120 + "0300000000000000" + "00" * 8
)
#: The generators of the groups of BLS12-381, in the 128 and 256 bytes of EIP-2537.
G1 = (
    "0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
    "6c55e83ff97a1aeffb3af00adb22c6bb"
    "0000000000000000000000000000000008b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3ed"
    "d03cc744a2888ae40caa232946c5e7e1"
)
G2 = (
    "00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d177"
    "0bac0326a805bbefd48056c8c121bdb8"
    "0000000000000000000000000000000013e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049"
    "334cf11213945d57e5ac7d055d042b7e"
    "000000000000000000000000000000000ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c"
    "923ac9cc3baca289e193548608b82801"
    "000000000000000000000000000000000606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab"
    "3f370d275cec1da1aaa9075ff05f79be"
)
INPUTS: dict[str, tuple[int, str]] = {
    "blake2f, final": (9, "0000000c" + BLAKE + "01"),
    "blake2f, not final": (9, "0000000c" + BLAKE + "00"),
    "blake2f, no rounds": (9, "00000000" + BLAKE + "01"),
    "blake2f, 1000 rounds": (9, "000003e8" + BLAKE + "01"),
    "blake2f, another flag": (9, "0000000c" + BLAKE + "02"),
    "blake2f, too short": (9, "0000000c"),
    "pairing of nothing": (8, ""),
    "pairing that is one": (8, PAIR + NEGATIVE + PAIR[128:]),
    "pairing that is not": (8, PAIR),
    "pairing of no point": (8, "01" * 192),
    "pairing of a part": (8, PAIR[:-2]),
    "G1 sum": (12, G1 + f"{2:064x}" + G1 + f"{5:064x}"),
    "G1 sum of nothing": (12, ""),
    "G2 sum": (14, G2 + f"{3:064x}" + G2 + f"{4:064x}"),
    "BLS pairing": (15, G1 + G2),
    "BLS pairing of infinity": (15, "00" * 384),
    "BLS pairing of no point": (15, "11" * 384),
}


@pytest.mark.parametrize("name", INPUTS)
def test_they_answer_as_geth_does(theirs: Node, ours: Node, name: str) -> None:
    number, payload = INPUTS[name]
    request = {"to": f"0x{number:040x}", "data": "0x" + payload, "gas": "0x2dc6c0"}
    options = {"tracer": "callTracer", "timeout": "60s"}  # a busy machine needs more than 5 s
    told = []
    for node in (theirs, ours):
        trace = node.call("debug_traceCall", request, "latest", options)
        told.append(
            {key: trace.get(key) for key in ("output", "gasUsed")} | {"ok": "error" in trace}
        )
    assert told[1] == told[0]


def test_the_prices_are_those_of_the_fork() -> None:
    from eth.vm.forks.byzantium import ByzantiumVM

    from npipe.ethereum.evm.machine import adapt

    def price(vm: Any) -> int:
        spent: list[int] = []

        class Computation:
            msg = type("Message", (), {"data_as_bytes": b""})
            consume_gas: Callable[..., None] = staticmethod(lambda gas, **_: spent.append(gas))
            output = b""

        precompiles = vm._state_class.precompiles
        precompiles[b"\0" * 19 + b"\x08"](Computation())
        return spent[0]

    assert price(adapt(ByzantiumVM)) == 100_000
    assert price(machine.Machine) == 45_000

"""The code of a frame: where a jump may go, and the clock on the way."""

from __future__ import annotations

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from npipe.ethereum.evm.code import Code


def destinations(octets: str) -> list[int]:
    code = Code(bytes.fromhex(octets), lambda: None)
    return [at for at in range(len(octets) // 2) if code.is_valid_opcode(at)]


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        ("5b005b", [0, 2]),
        ("605b5b", [2]),  # the first one is data of PUSH1
        ("615b5b5b", [3]),
        ("7f" + "5b" * 32 + "5b", [33]),
        ("7f5b", []),  # data that ends with the code
        ("5f5b", [1]),  # PUSH0 has none
    ],
)
def test_a_jump_goes_to_a_jumpdest_that_is_no_data(octets: str, expected: list[int]) -> None:
    assert destinations(octets) == expected


def test_the_instructions_end_with_a_stop_and_follow_the_program_counter() -> None:
    code = Code(bytes.fromhex("6001025b"), lambda: None)
    seen = []
    for instruction in code:
        seen.append(instruction)
        if instruction == 0x60:
            code.program_counter += 1  # as PUSH1 does
    assert seen == [0x60, 0x02, 0x5B, 0x00]
    assert code.last == 0


def test_no_code_outruns_the_clock() -> None:
    ticks: list[None] = []
    code = Code(b"\x5b" * 5000, lambda: ticks.append(None))
    assert sum(1 for _ in code) == 5001
    assert len(ticks) == 5
    ticks.clear()
    large = Code(b"\x00" * 200_000 + b"\x5b", lambda: ticks.append(None))
    assert large.is_valid_opcode(200_000)
    assert len(ticks) == 3

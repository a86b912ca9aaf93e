"""The reasons that contracts give when they revert, hostile ones included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.ethereum.errors import Reverted, revert_reason

REASON, PANIC = bytes.fromhex("08c379a0"), bytes.fromhex("4e487b71")


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (b"", ""),
        (REASON + word(32) + word(3) + b"why".ljust(32, b"\0"), "why"),
        (REASON + word(32) + word(0), ""),
        (REASON + word(32) + word(2**200) + b"why", ""),  # longer than all there is
        (REASON + word(2**255) + word(3) + b"why", ""),  # somewhere else
        (REASON + word(32), ""),
        (REASON + word(32) + word(2) + b"\xff\xfe", "\ufffd\ufffd"),
        (PANIC + word(0x11), "arithmetic underflow or overflow"),
        (PANIC + word(0x77), "unknown panic code: 0x77"),
        (PANIC + b"\1", ""),
        (b"\1\2\3\4" + word(1), ""),
    ],
)
def test_reasons(output: bytes, reason: str) -> None:
    assert revert_reason(output) == reason


@given(st.sampled_from([REASON, PANIC, b""]), st.binary(max_size=200))
def test_no_output_can_break_it(selector: bytes, body: bytes) -> None:
    error = Reverted(selector + body)
    assert error.message.startswith("execution reverted")
    assert error.data == "0x" + (selector + body).hex()

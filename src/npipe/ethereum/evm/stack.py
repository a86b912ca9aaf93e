"""The number of words that each instruction takes from the stack, for geth's error messages."""

from __future__ import annotations

from npipe.ethereum.evm.errors import StackUnderflow

__all__ = ["taken", "underflow"]

_ONE = (0x15, 0x19, 0x31, 0x35, 0x3B, 0x3F, 0x40, 0x49, 0x50, 0x51, 0x54, 0x56, 0x5C, 0xFF)
_TAKEN = {
    **dict.fromkeys(_ONE, 1),
    **dict.fromkeys((*range(0x01, 0x08), 0x0A, 0x0B, *range(0x10, 0x15), 0x16, 0x17, 0x18), 2),
    **dict.fromkeys((0x1A, 0x1B, 0x1C, 0x1D, 0x20, 0x52, 0x53, 0x55, 0x57, 0x5D, 0xF3, 0xFD), 2),
    **dict.fromkeys((0x08, 0x09, 0x37, 0x39, 0x3E, 0x5E, 0xF0), 3),
    0x3C: 4,
    0xF5: 4,
    0xF1: 7,
    0xF2: 7,
    0xF4: 6,
    0xFA: 6,
    **{0x80 + at: at + 1 for at in range(16)},  # DUP
    **{0x90 + at: at + 2 for at in range(16)},  # SWAP
    **{0xA0 + at: at + 2 for at in range(5)},  # LOG
}
_CALLS = (0xF1, 0xF2, 0xF4, 0xFA)


def taken(code: int) -> int:
    """Return the number of words that an instruction takes or reads."""
    return _TAKEN.get(code, 0)


def underflow(code: int, left: int) -> StackUnderflow:
    """Return the error of an instruction that found too few words, with ``left`` words left.

    py-evm's calls take the first two words one by one, so these are missing from ``left``.
    """
    have = left + 2 if code in _CALLS and left else left
    return StackUnderflow(have, taken(code))

"""How many words each instruction takes from the stack."""

from __future__ import annotations

import pytest

pytest.importorskip("eth", reason='the chain needs the extra "ethereum"')

from npipe.ethereum.evm.stack import taken, underflow


@pytest.mark.parametrize(
    ("code", "words"),
    [(0x00, 0), (0x01, 2), (0x15, 1), (0x5F, 0), (0x80, 1), (0x8F, 16), (0x90, 2), (0x9F, 17),
     (0xA4, 6), (0xF0, 3), (0xF1, 7), (0xF5, 4), (0xFA, 6), (0xFF, 1)],
)  # fmt: skip
def test_instructions_take_words(code: int, words: int) -> None:
    assert taken(code) == words


def test_it_agrees_with_py_evm_about_every_instruction() -> None:
    """Each fails on a stack with one word too few, and py-evm does not find one too few else."""
    from eth.exceptions import InsufficientStack
    from eth.vm.forks.prague import PragueVM
    from eth.vm.stack import Stack

    for code in PragueVM._state_class.computation_class.opcodes:
        stack = Stack()
        for _ in range(taken(code) - 1):
            stack.push_int(0)
        if 0x80 <= code < 0x90:
            with pytest.raises(InsufficientStack):
                stack.dup(code - 0x7F)
        if 0x90 <= code < 0xA0:
            with pytest.raises(InsufficientStack):
                stack.swap(code - 0x8F)


def test_calls_take_their_first_words_one_by_one() -> None:
    assert str(underflow(0x01, 1)) == "stack underflow (1 <=> 2)"
    assert str(underflow(0xF1, 3)) == "stack underflow (5 <=> 7)"
    assert str(underflow(0xF1, 0)) == "stack underflow (0 <=> 7)"

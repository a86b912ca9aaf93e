"""The code of one frame: iteration over its instructions, and valid jump destinations.

py-evm searches backwards for the start of the instruction at each jump destination by recursion,
and code made of PUSH instructions exceeds Python's recursion limit. Here the code is read once,
from the front. Both the reading and the execution check the clock, so no code exceeds the time
limit of a call (``State.tick``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from eth.vm.code_stream import CodeStream

__all__ = ["Code"]

_STOP, _JUMPDEST, _PUSH1, _PUSH32 = 0x00, 0x5B, 0x60, 0x7F
_STEPS = 1_024  # instructions between two checks of the clock: a few milliseconds
_CHUNK = 1 << 16  # bytes of code searched for jump destinations between two checks
_CACHED_SIZE = 1 << 16  # bytes; only overrides have larger code


class Code(CodeStream):
    """A CodeStream that calls ``tick`` regularly, and knows its jump destinations."""

    __slots__ = ("_destinations", "_tick", "last")

    last: int  # the instruction in execution

    def __init__(self, code: bytes, tick: Callable[[], None]) -> None:
        super().__init__(code)
        self._tick = tick
        self._destinations: frozenset[int] | None = None

    def __iter__(self) -> Iterator[int]:
        """Yield the instruction at the program counter, which jumps change."""
        stream: Any = self  # py-evm has no types for its slots
        code, size = stream._raw_code_bytes, stream._length_cache
        while True:
            self._tick()
            for _ in range(_STEPS):
                at = stream.program_counter
                if at >= size:
                    stream.program_counter = at + 1
                    self.last = _STOP
                    yield _STOP
                    return
                stream.program_counter = at + 1
                self.last = code[at]
                yield self.last

    def is_valid_opcode(self, position: int) -> bool:
        """Tell whether ``position`` is a JUMPDEST outside of the data of a PUSH."""
        if self._destinations is None:
            code = self._raw_code_bytes
            if len(code) <= _CACHED_SIZE:
                self._destinations = _known_destinations(code)
            else:
                self._destinations = _destinations(code, self._tick)
        return position in self._destinations


@lru_cache(maxsize=256)
def _known_destinations(code: bytes) -> frozenset[int]:
    return _destinations(code, lambda: None)


def _destinations(code: bytes, tick: Callable[[], None]) -> frozenset[int]:
    found = []
    at, size, looked = 0, len(code), 0
    while at < size:
        if at - looked > _CHUNK:
            looked = at
            tick()
        instruction = code[at]
        if instruction == _JUMPDEST:
            found.append(at)
        elif _PUSH1 <= instruction <= _PUSH32:
            at += instruction - _PUSH1 + 1
        at += 1
    return frozenset(found)

"""The options of the debug_trace methods. Imports no py-evm."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from npipe.ethereum.errors import ChainError
from npipe.ethereum.values.overrides import BlockOverrides, StateOverride
from npipe.ethereum.values.types import Address

__all__ = ["TRACERS", "TraceCallConfig", "TraceConfig", "TracerConfig", "timeout_of"]

TIMEOUT: Final = 5.0  # seconds, as in geth
MAX_TIMEOUT: Final = 300.0  # geth has no limit
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\N{MICRO SIGN}s": 1e-6,
    "\N{GREEK SMALL LETTER MU}s": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = re.compile(r"([0-9]*\.?[0-9]*)([^0-9.]*)")  # a number and its unit

TRACERS = ("callTracer", "prestateTracer", "4byteTracer", "noopTracer")


class TracerConfig(msgspec.Struct, rename="camel"):
    """The options of the named tracers. Each ignores those of the others, as in geth."""

    only_top_call: bool = False  # of callTracer
    with_log: bool = False
    diff_mode: bool = False  # of prestateTracer
    disable_code: bool = False
    disable_storage: bool = False
    include_empty: bool = False


class TraceConfig(msgspec.Struct, rename="camel"):
    """The tracer and its options. Without ``tracer``: one entry for each instruction."""

    tracer: str | None = None
    tracer_config: TracerConfig | None = None
    disable_stack: bool = False
    disable_storage: bool = False
    enable_memory: bool = False
    enable_return_data: bool = False
    limit: int = 0
    timeout: str | None = None  # a duration in the syntax of Go, such as "30s"


class TraceCallConfig(TraceConfig, rename="camel"):
    """A TraceConfig with overrides."""

    state_overrides: dict[Address, StateOverride] | None = None
    block_overrides: BlockOverrides | None = None


def timeout_of(config: TraceConfig) -> float:
    """Return the time limit of a trace, in seconds. Raises ChainError for an invalid duration."""
    text = config.timeout
    if text is None:
        return TIMEOUT
    seconds, rest = 0.0, text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if not rest:
        raise ChainError(f'time: invalid duration "{text}"')
    while rest not in {"", "0"}:
        part = _PART.match(rest)
        number, unit = part.groups() if part else ("", "")
        if not number.strip("."):
            raise ChainError(f'time: invalid duration "{text}"')
        if unit not in _UNITS:
            why = f'unknown unit "{unit}"' if unit else "missing unit"
            raise ChainError(f'time: {why} in duration "{text}"')
        seconds += float(number) * _UNITS[unit]
        rest = rest[len(number) + len(unit) :]
    return min(-seconds if text.startswith("-") else seconds, MAX_TIMEOUT)

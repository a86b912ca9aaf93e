"""What the debug_trace methods can be told. Imports no py-evm; the tracers themselves do."""

from __future__ import annotations

import msgspec

from npipe.ethereum.values.overrides import BlockOverrides, StateOverride
from npipe.ethereum.values.types import Address

__all__ = ["TRACERS", "TraceCallConfig", "TraceConfig", "TracerConfig"]

TRACERS = ("callTracer", "prestateTracer", "4byteTracer", "noopTracer")


class TracerConfig(msgspec.Struct, rename="camel"):
    """The options of the tracers that have a name; each ignores those of the others, as in geth."""

    only_top_call: bool = False  # callTracer's
    with_log: bool = False
    diff_mode: bool = False  # prestateTracer's
    disable_code: bool = False
    disable_storage: bool = False
    include_empty: bool = False


class TraceConfig(msgspec.Struct, rename="camel"):
    """What to trace, and how. Without ``tracer``: one entry an instruction."""

    tracer: str | None = None
    tracer_config: TracerConfig | None = None
    disable_stack: bool = False
    disable_storage: bool = False
    enable_memory: bool = False
    enable_return_data: bool = False
    limit: int = 0
    timeout: str | None = None


class TraceCallConfig(TraceConfig, rename="camel"):
    """A TraceConfig, with what to pretend."""

    state_overrides: dict[Address, StateOverride] | None = None
    block_overrides: BlockOverrides | None = None

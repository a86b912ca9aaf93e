"""What the debug_trace methods can be told. Imports no py-evm; the tracers themselves do."""

from __future__ import annotations

import msgspec

from npipe.ethereum.values.overrides import BlockOverrides, StateOverride

__all__ = ["TRACERS", "TraceCallConfig", "TraceConfig", "TracerConfig"]

TRACERS = ("callTracer", "prestateTracer", "4byteTracer", "noopTracer")


class TracerConfig(msgspec.Struct, rename="camel"):
    """What the tracers that have a name can be told."""

    only_top_call: bool = False
    with_log: bool = False
    diff_mode: bool = False


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

    state_overrides: dict[str, StateOverride] | None = None
    block_overrides: BlockOverrides | None = None

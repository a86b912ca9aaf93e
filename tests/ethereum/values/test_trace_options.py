"""The options of the debug_trace methods: durations in the syntax of Go."""

from __future__ import annotations

import re

import msgspec
import pytest

from npipe.ethereum.errors import ChainError
from npipe.ethereum.values.trace_options import (
    TraceCallConfig,
    TraceConfig,
    TracerConfig,
    timeout_of,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *((None, 5.0), ("0", 0.0), ("-0", 0.0), ("+0s", 0.0), ("1ns", 1e-9), ("2us", 2e-6)),
        *(("2\N{MICRO SIGN}s", 2e-6), ("2\N{GREEK SMALL LETTER MU}s", 2e-6), ("3ms", 3e-3)),
        *(("1.5s", 1.5), (".5s", 0.5), ("5.s", 5.0), ("1m2s3ms", 62.003), ("-1s", -1.0)),
        *(("5m", 300.0), ("1000h", 300.0)),
    ],
)
def test_durations(text: str | None, seconds: float) -> None:
    assert timeout_of(TraceConfig(timeout=text)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *((text, "invalid duration") for text in ("", "-", "abc", "s", ".s", "--5s", "+-5s")),
        *((text, "missing unit in duration") for text in ("5", "1.", "5s3")),
        *(("5x", 'unknown unit "x" in duration'), ("5 s", 'unknown unit " s" in duration')),
        *(("5s ", 'unknown unit "s " in duration'), ("1e3s", 'unknown unit "e" in duration')),
    ],
)
def test_what_is_no_duration(text: str, why: str) -> None:
    with pytest.raises(ChainError, match=f'time: {why} "{re.escape(text)}"'):
        timeout_of(TraceConfig(timeout=text))


def test_the_names_are_those_of_geth_and_unknown_ones_are_passed_over() -> None:
    config = msgspec.convert(
        {
            "tracer": "callTracer",
            "tracerConfig": {"withLog": True, "diffMode": True, "unknown": 1},
            "disableStack": True,
            "stateOverrides": {"0x" + "11" * 20: {"balance": "0x1"}},
        },
        TraceCallConfig,
    )
    assert config.tracer_config == TracerConfig(with_log=True, diff_mode=True)
    assert (config.tracer, config.disable_stack, config.enable_memory) == (
        "callTracer",
        True,
        False,
    )
    assert config.state_overrides is not None
    assert config.state_overrides["0x" + "11" * 20].balance == "0x1"

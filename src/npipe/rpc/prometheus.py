"""Counters of a server in the text format of Prometheus.

Exposition format 0.0.4. The metric names follow OpenTelemetry's semantic conventions for RPC, in
the spelling of its Prometheus exporters, so that one dashboard reads both. No dependency.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from npipe.rpc.session.timing import BOUNDS

__all__ = ["BOUNDS", "CONTENT_TYPE", "render"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[str, object]  # the suffix and labels after the name of the family, and the value
_LIMITS: Final = (*map(repr, BOUNDS), "+Inf")

# The gauge must not be named npipe_connections: parsers would read it and
# npipe_connections_total as one family.
_FAMILIES: Final = (
    ("npipe_open_connections", "gauge", "Connections open now.", ("connections", "open")),
    ("npipe_connections_total", "counter", "Connections accepted.", ("connections", "total")),
    ("npipe_received_bytes_total", "counter", "Bytes read from clients.", ("bytes_in",)),
    ("npipe_sent_bytes_total", "counter", "Bytes written to clients.", ("bytes_out",)),
    ("npipe_subscriptions", "gauge", "Subscriptions open now.", ("subscriptions",)),
    ("npipe_calls_in_flight", "gauge", "Calls running or waiting now.", ("in_flight",)),
)


def render(stats: Mapping[str, Any]) -> bytes:
    """Render the counters as the body of a scrape response.

    Args:
        stats: The result of ``Server.stats()``.

    Returns:
        The text in exposition format 0.0.4, encoded in UTF-8.
    """
    lines: list[str] = []
    for name, kind, text, path in _FAMILIES:
        value: Any = stats
        for key in path:
            value = value[key]
        lines += _family(name, kind, text, [("", value)])
    methods = stats["methods"]
    lines += _family(
        "rpc_server_call_duration_seconds",
        "histogram",
        "Seconds from the beginning of a call to its answer.",
        _durations(methods),
    )
    lines += _family(
        "rpc_server_call_errors_total",
        "counter",
        "Calls that were answered with an error.",
        _errors(methods),
    )
    return ("\n".join(lines) + "\n").encode()


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for suffix, value in samples:
        yield f"{name}{suffix} {value}"


def _durations(methods: Mapping[str, Any]) -> Iterator[Sample]:
    for method, counts in methods.items():
        label = f'rpc_method="{_escape(method)}"'
        total = 0
        for limit, total in zip(_LIMITS, accumulate(counts["buckets"]), strict=True):
            yield f'_bucket{{{label},le="{limit}"}}', total
        yield f"_sum{{{label}}}", repr(counts["seconds"])
        yield f"_count{{{label}}}", total


def _errors(methods: Mapping[str, Any]) -> Iterator[Sample]:
    for method, counts in methods.items():
        for code, number in sorted(counts["errors"].items()):
            label = f'rpc_method="{_escape(method)}",rpc_response_status_code="{code}"'
            yield f"{{{label}}}", number


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

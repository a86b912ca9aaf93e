"""``python -m bench.operate_server ADDRESS VARIANT``: one API, in each way of bench.operate."""

from __future__ import annotations

import sys
import time
from typing import Any

from npipe import rpc
from npipe.rpc.session import statistics


class Lab:
    """The measured functions: one that does nothing, and one that takes 20 ms."""

    def echo(self) -> int:
        return 1

    @rpc.method(concurrency=1)
    def serial(self) -> int:
        """As if this process computed for 20 ms, on a core of its own."""
        time.sleep(0.02)
        return 1


def tracing(variant: str) -> list[Any]:
    """The middleware of the variants of tracing; none for any other."""
    if not variant.startswith("traces"):
        return []
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    from npipe.integrations.opentelemetry import middleware

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(ALWAYS_OFF if variant == "traces-none" else ALWAYS_ON)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return [middleware(provider)]


def main(address: str, variant: str) -> None:
    api = rpc.API()
    api.register("lab", Lab())
    layers = [lambda _, proceed: proceed()] if variant == "middleware" else tracing(variant)
    log_calls = variant == "log-calls"
    if variant == "uncounted":
        statistics.Statistics.measure = lambda *_: None  # type: ignore[method-assign]
    with rpc.Server(api, middleware=layers, log_calls=log_calls) as server:
        server.serve(address, **({"stateless": True} if "://" in address else {}))
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])

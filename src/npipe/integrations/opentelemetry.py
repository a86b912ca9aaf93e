"""Spans for calls, with OpenTelemetry. The extra "opentelemetry" installs its API only.

::

    server = rpc.Server(api, middleware=[opentelemetry.middleware()])
    client = opentelemetry.trace(rpc.connect("shop"))

The same works for asyncio. A client sends the context of its span as the members ``traceparent``
and ``tracestate`` of each request, beside ``method``: the form of StreamJsonRpc, which works with
parameters by position and by name. Most servers ignore unknown members, but some (anvil)
refuse the request, so only a traced client sends them.

Names follow the semantic conventions for RPC, which changed in 2025; all of them are in the
constants below.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from npipe.integrations import missing
from npipe.rpc import RPCError

try:
    from opentelemetry import context as otel_context
    from opentelemetry import trace as otel_trace
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as _error:
    raise missing("opentelemetry", _error) from None

if TYPE_CHECKING:
    from npipe.rpc import Context

__all__ = ["middleware", "trace"]

T = TypeVar("T")

# https://opentelemetry.io/docs/specs/semconv/rpc/json-rpc/ (v1.45; "development")
SYSTEM: Final = {"rpc.system.name": "jsonrpc", "jsonrpc.protocol.version": "2.0"}
METHOD: Final = "rpc.method"
REQUEST_ID: Final = "jsonrpc.request.id"
STATUS: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"
BATCH_SIZE: Final = "rpc.batch.size"  # not in the conventions, which have no batches

_MEMBERS: Final = ("traceparent", "tracestate")
_propagator: Final = TraceContextTextMapPropagator()


def middleware(
    provider: TracerProvider | None = None,
) -> Callable[[Context, Callable[[], Any]], Any]:
    """Return middleware that gives each call a span of the kind SERVER.

    It continues the trace of the request, if there is one; an invalid ``traceparent`` is
    ignored, as W3C Trace Context requires. The span is the current one while the function runs,
    ``async def`` or not. The span of a subscription ends when it is confirmed.

    Args:
        provider: Makes the spans; None: the global provider.
    """
    tracer = _tracer(provider)

    def layer(context: Context, proceed: Callable[[], Any]) -> Any:
        carrier = context.trace
        parent = _propagator.extract(carrier, otel_context.Context()) if carrier else None
        attributes = {**SYSTEM, METHOD: context.method}
        if context.id is not None:
            attributes[REQUEST_ID] = str(context.id)
        # start_as_current_span costs five times as much if no SDK is installed.
        span = tracer.start_span(
            context.method, parent or otel_context.Context(), SpanKind.SERVER, attributes
        )
        active = otel_trace.set_span_in_context(span)
        token = otel_context.attach(active)
        try:
            result = proceed()
        except BaseException as error:
            _end(span, error)
            raise
        finally:
            otel_context.detach(token)
        if inspect.isawaitable(result):
            return _awaited(span, active, result)
        span.end()
        return result

    return layer


async def _awaited(span: Span, active: otel_context.Context, result: Awaitable[T]) -> T:
    token = otel_context.attach(active)  # the coroutine runs in a task, with a context of its own
    try:
        value = await result
    except BaseException as error:
        _end(span, error)
        raise
    finally:
        otel_context.detach(token)
    span.end()
    return value


def trace(client: Any, provider: TracerProvider | None = None) -> Any:
    """Return ``client`` with a span of the kind CLIENT around each call, batch and subscribe.

    Args:
        client: The result of ``rpc.connect`` or ``await rpc.aio.connect``.
        provider: Makes the spans; None: the global provider.

    Returns:
        An object with all methods of the client, to use in its place.
    """
    client.set_members(_members)
    kind = _AsyncTraced if inspect.iscoroutinefunction(type(client).call) else _Traced
    return kind(client, _tracer(provider))


class _Traced:
    """A client with spans."""

    def __init__(self, client: Any, tracer: Tracer) -> None:
        self._client = client
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def __enter__(self) -> Any:
        self._client.__enter__()
        return self

    def __exit__(self, *exc: object) -> Any:
        return self._client.__exit__(*exc)

    def call(self, method: str, /, *params: Any, **options: Any) -> Any:
        with _span(self._tracer, method):
            return self._client.call(method, *params, **options)

    def notify(self, method: str, /, *params: Any, **options: Any) -> Any:
        with _span(self._tracer, method):
            return self._client.notify(method, *params, **options)

    def batch(self, entries: Iterable[Any], **options: Any) -> Any:
        calls = list(entries)
        with _span(self._tracer, "batch", {BATCH_SIZE: len(calls)}):
            return self._client.batch(calls, **options)

    def subscribe(self, namespace: str, name: str, /, *params: Any, **options: Any) -> Any:
        with _span(self._tracer, f"{namespace}_subscribe"):
            return self._client.subscribe(namespace, name, *params, **options)


class _AsyncTraced(_Traced):
    """The same for asyncio."""

    async def __aenter__(self) -> Any:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> Any:
        return await self._client.__aexit__(*exc)

    async def call(self, method: str, /, *params: Any, **options: Any) -> Any:
        with _span(self._tracer, method):
            return await self._client.call(method, *params, **options)

    async def notify(self, method: str, /, *params: Any, **options: Any) -> Any:
        with _span(self._tracer, method):
            return await self._client.notify(method, *params, **options)

    async def batch(self, entries: Iterable[Any], **options: Any) -> Any:
        calls = list(entries)
        with _span(self._tracer, "batch", {BATCH_SIZE: len(calls)}):
            return await self._client.batch(calls, **options)

    async def subscribe(self, namespace: str, name: str, /, *params: Any, **options: Any) -> Any:
        with _span(self._tracer, f"{namespace}_subscribe"):
            return await self._client.subscribe(namespace, name, *params, **options)


@contextmanager
def _span(tracer: Tracer, name: str, attributes: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Make a span the current one in the block, so that its context is sent with requests."""
    found = {**SYSTEM, METHOD: name} if attributes is None else {**SYSTEM, **attributes}
    span = tracer.start_span(name, kind=SpanKind.CLIENT, attributes=found)
    token = otel_context.attach(otel_trace.set_span_in_context(span))
    try:
        yield
    except BaseException as error:
        _end(span, error)
        raise
    finally:
        otel_context.detach(token)
    span.end()


def _members() -> Mapping[str, str]:
    """Return the members of the current span for a request; {} without a span."""
    if not otel_trace.get_current_span().get_span_context().is_valid:
        return {}
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return {name: carrier[name] for name in _MEMBERS if name in carrier}


def _end(span: Span, error: BaseException) -> None:
    """End a span with an error: any error object is one, by the conventions."""
    if isinstance(error, RPCError):
        span.set_attribute(STATUS, str(error.code))
        span.set_attribute(ERROR_TYPE, str(error.code))
        span.set_status(Status(StatusCode.ERROR, error.message))
    else:
        span.set_attribute(ERROR_TYPE, type(error).__qualname__)
        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _tracer(provider: TracerProvider | None) -> Tracer:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("npipe")
    except PackageNotFoundError:
        found = "0"
    return otel_trace.get_tracer("npipe", found, provider)

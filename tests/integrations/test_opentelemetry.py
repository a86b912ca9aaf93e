"""Spans over the wire, read back from the SDK's in-memory exporter."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from npipe import rpc
from npipe.integrations.opentelemetry import middleware, trace
from npipe.rpc import aio

CONTEXT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """A provider of spans, and what it has exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def __call__(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def server(self) -> ReadableSpan:
        """Return the one span of a server."""
        (found,) = [span for span in self() if span.kind is SpanKind.SERVER]
        return found


@pytest.fixture
def spans() -> Iterator[Spans]:
    spans = Spans()
    yield spans
    spans.provider.shutdown()


class Store:
    """The third program."""

    def count(self, name: str) -> int:
        return len(name)

    async def reserve(self, name: str) -> bool:
        await asyncio.sleep(0)
        return True


class Shop:
    """The server in the middle: it asks the third program."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def order(self, name: str) -> int:
        return int(self.store.call("store_count", name))

    async def later(self, name: str) -> bool:
        await asyncio.sleep(0)
        return bool(await asyncio.to_thread(self.store.call, "store_reserve", name))

    def fail(self) -> None:
        raise rpc.RPCError("sold out", code=7)

    def crash(self) -> None:
        raise ZeroDivisionError

    @rpc.subscription
    def ticks(self) -> Iterator[int]:
        yield 1


def api(namespace: str, served: object) -> rpc.API:
    found = rpc.API()
    found.register(namespace, served)
    return found


@pytest.fixture
def shop(spans: Spans) -> Iterator[rpc.Server]:
    layer = [middleware(spans.provider)]
    with (
        rpc.Server(api("store", Store()), middleware=layer) as third,
        trace(rpc.connect(third, timeout=20), spans.provider) as store,
        rpc.Server(api("shop", Shop(store)), middleware=layer) as server,
    ):
        yield server


def tree(spans: list[ReadableSpan]) -> list[tuple[str, str, str | None]]:
    """Return name, kind and the parent's name of each span of one trace, by start."""
    assert len({span.context.trace_id for span in spans}) == 1
    names = {span.context.span_id: span.name for span in spans}
    return [
        (span.name, span.kind.name, span.parent and names[span.parent.span_id])
        for span in sorted(spans, key=lambda span: span.start_time or 0)
    ]


@pytest.mark.parametrize(
    ("method", "nested"), [("shop_order", "store_count"), ("shop_later", "store_reserve")]
)
def test_one_trace_over_three_programs(
    shop: rpc.Server, spans: Spans, method: str, nested: str
) -> None:
    """An ``async def`` is in the middle once, and at the end."""
    with trace(rpc.connect(shop, timeout=20), spans.provider) as client:
        assert client.call(method, "tea")
    assert tree(spans()) == [
        (method, "CLIENT", None),
        (method, "SERVER", method),
        (nested, "CLIENT", method),
        (nested, "SERVER", nested),
    ]


def test_the_same_for_asyncio(spans: Spans) -> None:
    async def talk() -> None:
        layer = [middleware(spans.provider)]
        async with (
            aio.Server(api("store", Store()), middleware=layer) as server,
            trace(await aio.connect(server, timeout=20), spans.provider) as client,
        ):
            assert await client.call("store_count", "tea") == 3
            assert await client.call("store_reserve", "tea")
            await client.batch([("store_count", ["a"]), ("store_count", [])])

    asyncio.run(talk())
    found = spans()
    one, two, both = (found[at : at + 2] for at in (0, 2, 4))
    assert tree(one) == [("store_count", "CLIENT", None), ("store_count", "SERVER", "store_count")]
    assert len(tree(two)) == 2
    (server, client) = both  # the call without parameters never came to the function
    assert (client.name, client.attributes["rpc.batch.size"]) == ("batch", 2)
    assert server.parent.span_id == client.context.span_id


def test_names_and_attributes_are_those_of_the_conventions(shop: rpc.Server, spans: Spans) -> None:
    with rpc.connect(shop, timeout=20) as client:
        client.call("shop_order", "tea")
    (span,) = [span for span in spans() if span.name == "shop_order"]
    assert dict(span.attributes or {}) == {
        "rpc.system.name": "jsonrpc",
        "jsonrpc.protocol.version": "2.0",
        "rpc.method": "shop_order",
        "jsonrpc.request.id": "1",
    }
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("method", "attributes"),
    [
        ("shop_fail", {"rpc.response.status_code": "7", "error.type": "7"}),
        ("shop_crash", {"error.type": "ZeroDivisionError"}),
    ],
)
def test_errors(shop: rpc.Server, spans: Spans, method: str, attributes: dict[str, str]) -> None:
    traced = trace(rpc.connect(shop, timeout=20), spans.provider)
    with traced as client, pytest.raises(rpc.RPCError):
        client.call(method)
    server = spans.server()
    assert attributes.items() <= dict(server.attributes or {}).items()
    assert {span.status.status_code for span in spans()} == {StatusCode.ERROR}


@pytest.mark.parametrize(
    "members",
    [
        '"traceparent":"nonsense"',
        '"traceparent":7',
        '"traceparent":{"a":[]}',
        '"traceparent":null,"tracestate":[]',
        '"tracestate":"a=b"',
        f'"traceparent":"{CONTEXT[:-3]}","tracestate":"a=b"',
        f'"traceparent":"{"f" * 5000}"',
        f'"traceparent":"{CONTEXT}","tracestate":7',
    ],
)
def test_an_odd_traceparent_harms_nobody(shop: rpc.Server, spans: Spans, members: str) -> None:
    ask = '{"jsonrpc":"2.0","id":1,"method":"shop_order","params":["tea"],' + members + "}"
    assert exchange(shop, ask) == b'{"jsonrpc":"2.0","id":1,"result":3}\n'
    (span,) = [span for span in spans() if span.name == "shop_order"]
    valid = f'"{CONTEXT}"' in members
    assert (span.parent is not None) is valid


def test_the_trace_of_another_program_is_continued_through_a_proxy(
    shop: rpc.Server, spans: Spans
) -> None:
    ask = (
        '{"jsonrpc":"2.0","id":1,"method":"shop_order","params":["tea"],'
        f'"traceparent":"{CONTEXT}","tracestate":"a=b"}}'
    )
    with rpc.Proxy(shop) as proxy:
        assert exchange(proxy, ask).startswith(b'{"jsonrpc":"2.0","id":1,"result"')
    (span,) = [span for span in spans() if span.name == "shop_order"]
    assert f"{span.context.trace_id:032x}" == CONTEXT[3:35]
    assert span.parent and span.parent.is_remote and span.parent.trace_state["a"] == "b"


def test_the_span_of_a_subscription_covers_the_subscribing(shop: rpc.Server, spans: Spans) -> None:
    with trace(rpc.connect(shop, timeout=20), spans.provider) as client:
        assert list(client.subscribe("shop", "ticks")) == [1]
        client.notify("shop_fail")
    names = [span.name for span in spans() if span.kind is SpanKind.CLIENT]
    assert names == ["shop_subscribe", "shop_fail"]


def test_without_a_span_nothing_is_sent() -> None:
    """Some servers refuse a request with a member that they do not know."""
    seen: list[dict[str, str]] = []

    def look(context: rpc.Context, proceed: Callable[[], Any]) -> Any:
        seen.append(context.trace)
        return proceed()

    with rpc.Server(api("store", Store()), middleware=[look]) as server:
        with trace(rpc.connect(server, timeout=20), otel_trace.NoOpTracerProvider()) as client:
            client.call("store_count", "tea")
        with rpc.connect(server, timeout=20) as plain:
            plain.call("store_count", "tea")
    assert seen == [{}, {}]


def test_the_module_needs_the_api_alone() -> None:
    code = (
        "import sys, npipe.integrations.opentelemetry\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def exchange(server: Any, line: str) -> bytes:
    """Send one line; return the line that comes back."""
    from npipe.transport.memory import memory_pair

    ours, theirs = memory_pair()
    server.serve_connection(theirs)
    with ours:
        ours.write(line.encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            data += ours.read(65536)
    return data

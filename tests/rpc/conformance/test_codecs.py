"""Each codec, with each flavour at either end: values, errors, both directions, subscriptions."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest

import npipe
from npipe import rpc
from npipe.rpc import aio
from npipe.rpc.wire.msgpack import MessagePack
from rpc.conftest import ServeAPI

LONG = 60.0


class Plain(rpc.Encoding):
    """A third-party encoding in short: JSON, by the two functions that one has to write."""

    def encode(self, value: Any) -> bytes:
        return msgspec.json.encode(value)

    def decode(self, data: bytes, type: Any = Any) -> Any:
        return msgspec.json.decode(data, type=type)


CODECS: dict[str, Any] = {
    "msgpack": "msgpack",
    "msgpack-rpc": "msgpack-rpc",
    "headers": rpc.Codec("content-length", MessagePack()),
    "own": Plain(),
}


class Service:
    def echo(self, *values: Any) -> Any:
        return list(values)

    def add(self, a: int, b: int = 2) -> int:
        return a + b

    def fail(self) -> None:
        raise rpc.RPCError("no", code=7, data=[1])

    def back(self, context: rpc.Context, value: Any) -> Any:
        return context.remote.call("home_echo", value)

    def report(self, context: rpc.Context, n: int) -> int:
        for step in range(n):
            context.progress(step)
        return n

    def wait(self, context: rpc.Context) -> None:
        gone = threading.Event()
        context.on_cancel(gone.set)
        assert gone.wait(LONG)

    @rpc.subscription
    def count(self, n: int) -> Any:
        yield from range(n)

    @rpc.subscription
    def broken(self) -> Any:
        yield 1
        raise rpc.RPCError("broken", code=9)


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest, serve_api: ServeAPI) -> Any:
    api = rpc.API()
    api.register("test", Service())
    chosen = CODECS[request.param]
    serve_api(api, codec=chosen)
    return chosen


@pytest.fixture
def home() -> rpc.API:
    api = rpc.API()
    api.register("home", {"echo": lambda value: value})
    return api


def test_with_a_client_of_threads(address: str, codec: Any, home: rpc.API) -> None:
    with rpc.connect(address, codec=codec, api=home, timeout=LONG) as client:
        assert client.call("test_echo", 1, "é", None, [2.5], {"a": True}) == [
            1,
            "é",
            None,
            [2.5],
            {"a": True},
        ]
        assert client.call("test_add", 1, result_type=int) == 3
        with pytest.raises(rpc.RPCError, match="no") as caught:
            client.call("test_fail")
        assert (caught.value.code, caught.value.data) == (7, [1])
        with pytest.raises(rpc.InvalidParams, match="Expected `int`"):
            client.call("test_add", "x")
        with pytest.raises(rpc.MethodNotFound):
            client.call("test_nothing")
        assert client.call("test_back", ["x"]) == ["x"]
        steps: list[int] = []
        assert client.call("test_report", 3, on_progress=steps.append) == 3
        assert steps == [0, 1, 2]
        results = client.batch([("test_add", [n]) for n in range(9)] + [("nothing", [])])
        assert results[:9] == list(range(2, 11))
        assert isinstance(results[9], rpc.MethodNotFound)
        assert list(client.subscribe("test", "count", 100)) == list(range(100))
        with pytest.raises(rpc.RPCError, match="broken"):
            list(client.subscribe("test", "broken"))
        with pytest.raises(TimeoutError):
            client.call("test_wait", timeout=0.05)
        client.notify("test_add", 1)
        assert client.modules()["test"] == "1.0"


def test_with_a_client_of_asyncio(address: str, codec: Any, home: rpc.API) -> None:
    async def main() -> None:
        async with aio.connect(address, codec=codec, api=home, timeout=LONG) as client:
            assert await client.call("test_echo", 1, ["x"]) == [1, ["x"]]
            with pytest.raises(rpc.RPCError, match="no"):
                await client.call("test_fail")
            assert await client.call("test_back", ["x"]) == ["x"]
            results = await client.batch([("test_add", [n]) for n in range(9)])
            assert results == list(range(2, 11))
            items = await client.subscribe("test", "count", 100)
            assert [item async for item in items] == list(range(100))

    asyncio.run(main())


@pytest.mark.parametrize("codec", ["msgpack", "msgpack-rpc"])
def test_bytes_and_extension_types_are_kept(address: str, serve_api: ServeAPI, codec: str) -> None:
    api = rpc.API()
    api.register("test", Service())
    serve_api(api, codec=codec)
    extension = msgspec.msgpack.Ext(5, b"\x01\x02")
    with rpc.connect(address, codec=codec, timeout=LONG) as client:
        data, ext, nan = client.call("test_echo", b"\x00\xff", extension, float("nan"))
        assert data == b"\x00\xff"
        assert (ext.code, bytes(ext.data)) == (5, b"\x01\x02")
        assert nan != nan
        raw = client.call("test_echo", b"\x01", result_type=rpc.Raw)
        assert bytes(raw) == b"\x91\xc4\x01\x01"


def test_parameters_by_name_go_where_there_are_some(address: str, serve_api: ServeAPI) -> None:
    api = rpc.API()
    api.register("test", Service())
    serve_api(api, codec="msgpack")
    with rpc.connect(address, codec="msgpack", timeout=LONG) as client:
        assert client.call("test_add", named={"a": 1, "b": 5}) == 6
        assert client.test.add(a=1, b=6) == 7
    with (
        rpc.Server(api, codec="msgpack-rpc") as server,
        rpc.connect(server, codec="msgpack-rpc", timeout=LONG) as client,
    ):
        with pytest.raises(ValueError, match="by position only"):
            client.call("test_add", named={"a": 1})
        assert client.call("test_add", 1) == 3


@pytest.mark.parametrize("upstream", ["msgpack", "json-stream"])
def test_a_proxy_translates(address: str, upstream: str) -> None:
    api = rpc.API()
    api.register("test", Service())
    outside = "json-stream" if upstream == "msgpack" else "msgpack"
    with (
        rpc.Server(api, codec=upstream) as server,
        rpc.Proxy(server, codec=outside, upstream_codec=upstream) as proxy,
    ):
        proxy.serve(address)
        with rpc.connect(address, codec=outside, timeout=LONG) as client:
            assert client.call("test_echo", 1, ["x"], {"a": None}) == [1, ["x"], {"a": None}]
            with pytest.raises(rpc.RPCError, match="no") as caught:
                client.call("test_fail")
            assert caught.value.data == [1]
            assert list(client.subscribe("test", "count", 20)) == list(range(20))
            steps: list[int] = []
            assert client.call("test_report", 2, on_progress=steps.append) == 2
            assert steps == [0, 1]


@pytest.mark.parametrize(("served", "spoken"), [
    ("json-stream", "msgpack"), ("json-stream", "msgpack-rpc"), ("content-length", "msgpack"),
    ("msgpack", "json-stream"), ("msgpack-rpc", "content-length"), ("msgpack-rpc", "json-stream"),
])  # fmt: skip
def test_codecs_that_do_not_match_end_the_call_at_once(
    address: str, serve_api: ServeAPI, served: str, spoken: str
) -> None:
    serve_api(rpc.API(), codec=served)
    with (
        rpc.connect(address, codec=spoken) as client,  # no timeout: it must end by itself
        pytest.raises(rpc.ProtocolError, match="use the same codec at both ends"),
    ):
        client.call("test_echo", 1)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_the_limits_hold(address: str, codec: Any) -> None:
    api = rpc.API()
    api.register("test", Service())
    limits = rpc.Limits(message_bytes=10_000, depth=20, reply_bytes=500, batch_items=5)
    with rpc.Server(api, codec=codec, limits=limits) as server:
        server.serve(address)
        with rpc.connect(address, codec=codec, timeout=LONG) as client:
            deep: Any = 1
            for _ in range(15):
                deep = [deep]
            assert client.call("test_echo", deep) == [deep]
            with pytest.raises(rpc.RPCError, match="too large"):
                client.call("test_echo", "x" * 600)
            for _ in range(10):
                deep = [deep]
            with pytest.raises((rpc.RPCError, rpc.ConnectionLost)):
                client.call("test_echo", deep)
        with (
            rpc.connect(address, codec=codec, timeout=LONG) as client,
            pytest.raises((rpc.RPCError, rpc.ConnectionLost)),
        ):
            client.call("test_echo", "x" * 11_000)


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_any_bytes_end_in_an_error_or_an_answer(address: str, codec: Any) -> None:
    hostile = (b"\x00", b"\xc1" * 9, b"\x94\x00", b"\x00\x00\x00\x01\xc1", b"\xdd\xff\xff\xff\xff")
    with rpc.Server(rpc.API(), codec=codec) as server:
        server.serve(address)
        for data in hostile:
            with npipe.connect(address) as connection:
                connection.write(data)
                connection.set_read_deadline(0)
        with rpc.connect(address, codec=codec, timeout=LONG) as client:
            assert client.modules()["rpc"]


def test_what_is_no_codec_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown codec 'xml': choose one of json-stream"):
        rpc.Server(rpc.API(), codec="xml")
    with pytest.raises(ValueError, match="unknown framing"):
        rpc.Codec("lines", Plain())
    with pytest.raises(TypeError, match="a codec is a name"):
        rpc.Server(rpc.API(), codec=7)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CODECS)
def test_a_spread_passes_on_every_codec(name: str) -> None:
    codec, apis = CODECS[name], [rpc.API(), rpc.API()]
    for api in apis:
        api.register("test", Service())
    with (
        rpc.Server(apis[0], codec=codec) as one,
        rpc.Server(apis[1], codec=codec) as other,
        rpc.Spread([one, other], codec=codec, upstream_codec=codec, stateless=True) as front,
        rpc.connect(front, codec=codec, timeout=LONG) as client,
    ):
        assert client.call("test_echo", 1, ["x"]) == [1, ["x"]]
        with pytest.raises(rpc.RPCError, match="no") as caught:
            client.call("test_fail")
        assert (caught.value.code, caught.value.data) == (7, [1])
        assert client.batch([("test_add", [n]) for n in range(9)]) == list(range(2, 11))
        steps: list[int] = []
        assert client.call("test_report", 3, on_progress=steps.append) == 3
        assert steps == [0, 1, 2]
        with pytest.raises(TimeoutError):
            client.call("test_wait", timeout=0.05)  # the server is told, or it would not end
        counts = [client.subscribe("test", "count", n) for n in (20, 30, 40)]
        assert len({items.id for items in counts}) == 3
        assert [list(items) for items in counts] == [list(range(n)) for n in (20, 30, 40)]
        with pytest.raises(rpc.RPCError, match="broken"):
            list(client.subscribe("test", "broken"))
        with client.subscribe("test", "count", 5) as items:
            assert next(items) == 0


def test_a_spread_does_not_translate() -> None:
    with pytest.raises(ValueError, match="have different encodings"):
        rpc.Spread(["one"], codec="msgpack")


@pytest.mark.parametrize("name", CODECS)
def test_the_id_of_a_call_is_what_the_client_sent(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    ids: list[Any] = []

    def ask(context: rpc.Context) -> None:
        ids.append(context.id)

    api = rpc.API()
    api.register("test", {"ask": ask})
    caplog.set_level("INFO", "npipe.rpc.calls")
    with (
        rpc.Server(api, codec=CODECS[name], log_calls=True) as server,
        rpc.connect(server, codec=CODECS[name], timeout=LONG) as client,
    ):
        client.call("test_ask")
        client.call("test_ask")
    assert ids[1] == ids[0] + 1
    logged = [record.call["id"] for record in caplog.records]  # type: ignore[attr-defined]
    assert logged == [str(number) for number in ids]

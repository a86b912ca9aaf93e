"""Every framing end to end: both shells, both clients, everything that a message can be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc import aio
from rpc.conftest import ServeAPI

TEXT = 'é😀\n{}[]"\\' * 100_000  # more than many reads, and all that a framing might stumble over


class Service:
    def echo(self, value: Any) -> Any:
        return value

    def report(self, steps: int, context: rpc.Context) -> int:
        for step in range(steps):
            context.progress(step)
        return steps

    def back(self, value: Any, context: rpc.Context) -> Any:
        return context.remote.call("home_echo", value)

    @rpc.subscription
    def count(self, to: int) -> Iterator[int]:
        yield from range(to)


PAIRS = [  # of a server and its client
    ("json-stream", "json-stream"),
    ("ndjson", "ndjson"),
    ("content-length", "content-length"),
    ("auto", "json-stream"),
    ("auto", "ndjson"),
    ("auto", "content-length"),
    ("json-stream", "ndjson"),
    ("ndjson", "json-stream"),
]


@pytest.fixture(params=PAIRS, ids=" to ".join)
def framing(request: pytest.FixtureRequest, serve_api: ServeAPI) -> str:
    api = rpc.API()
    api.register("test", Service())
    served, spoken = request.param
    serve_api(api, codec=served)
    return str(spoken)


@pytest.fixture
def home() -> rpc.API:
    api = rpc.API()
    api.register("home", Service())
    return api


def test_with_a_client_of_threads(address: str, framing: str, home: rpc.API) -> None:
    with rpc.connect(address, codec=framing, api=home, timeout=60) as client:
        steps: list[int] = []
        assert client.call("test_echo", TEXT) == TEXT
        assert client.call("test_report", 3, on_progress=steps.append) == 3
        assert steps == [0, 1, 2]
        assert client.call("test_back", [TEXT]) == [TEXT]
        results = client.batch([("test_echo", [n]) for n in range(50)] + [("nothing", [])])
        assert results[:50] == list(range(50))
        assert isinstance(results[50], rpc.MethodNotFound)
        assert list(client.subscribe("test", "count", 500)) == list(range(500))
        assert client.call("rpc.discover")["openrpc"]
        assert client.modules()["test"]


def test_with_a_client_of_asyncio(address: str, framing: str, home: rpc.API) -> None:
    async def main() -> None:
        async with await aio.connect(address, codec=framing, api=home, timeout=60) as client:
            steps: list[int] = []
            assert await client.call("test_echo", TEXT) == TEXT
            assert await client.call("test_report", 3, on_progress=steps.append) == 3
            assert steps == [0, 1, 2]
            assert await client.call("test_back", [TEXT]) == [TEXT]
            results = await client.batch([("test_echo", [n]) for n in range(50)] + [("no", [])])
            assert results[:50] == list(range(50))
            assert isinstance(results[50], rpc.MethodNotFound)
            items = await client.subscribe("test", "count", 500)
            assert [item async for item in items] == list(range(500))
            assert (await client.call("rpc.discover"))["openrpc"]
            assert (await client.modules())["test"]

    asyncio.run(main())


MISMATCHES = [
    (served, spoken)
    for served in ("json-stream", "ndjson", "content-length")
    for spoken in ("json-stream", "ndjson", "content-length")
    if (served == "content-length") is not (spoken == "content-length")
]


@pytest.mark.parametrize(("served", "spoken"), MISMATCHES, ids=" to ".join)
def test_two_framings_that_do_not_match_end_the_call_at_once(
    address: str, serve_api: ServeAPI, served: str, spoken: str
) -> None:
    serve_api(rpc.API(), codec=served)
    with (
        rpc.connect(address, codec=spoken) as client,  # no timeout: it must end by itself
        pytest.raises(rpc.ProtocolError, match="use the same codec at both ends"),
    ):
        client.call("test_echo", 1)

    async def main() -> None:
        async with await aio.connect(address, codec=spoken) as client:
            with pytest.raises(rpc.ProtocolError, match="use the same codec at both ends"):
                await client.call("test_echo", 1)

    asyncio.run(main())

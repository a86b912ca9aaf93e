"""Much more than a pipe holds, in flight both ways: no end waits for a write without reading."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from npipe import rpc
from npipe.rpc import aio
from rpc.conftest import ServeAPI
from rpc.service import make_api

SIZE = 1_000_000
COUNT = 100  # together more than Limits.queue_bytes, and a thousand times a pipe's buffer
METHODS = ["test_repeat", "test_slowRepeat"]  # run where it is read, and in a thread of its own


@pytest.fixture
def server(serve_api: ServeAPI, address: str) -> str:
    serve_api(make_api())
    return address


def test_threads_that_call_with_large_parameters_and_results(server: str) -> None:
    with rpc.connect(server) as client, ThreadPoolExecutor(8) as pool:

        def echo(number: int) -> bool:
            text = chr(97 + number % 26) * SIZE
            return bool(client.call("test_echoPlain", text) == text)

        assert all(pool.map(echo, range(COUNT // 2)))


def test_tasks_that_call_with_large_parameters_and_results(server: str) -> None:
    async def main() -> None:
        text = "x" * SIZE
        async with await aio.connect(server) as client:
            calls = [client.call("test_echoPlain", text) for _ in range(COUNT)]
            assert await asyncio.gather(*calls) == [text] * COUNT

    asyncio.run(main())


def test_two_ends_that_queue_many_large_calls_at_once_get_all_replies(address: str) -> None:
    """Tasks do not wait for room before they call: both send queues grow at the same time."""
    text = "x" * (SIZE // 10)
    api = rpc.API()

    @api.method("echo")
    async def echo(text: str) -> str:
        return text

    async def echo_all(caller: aio.Caller) -> int:
        calls = [caller.call("echo", text) for _ in range(COUNT)]
        return (await asyncio.gather(*calls)).count(text)

    @api.method("callBack")
    async def call_back(context: rpc.Context) -> int:
        return await echo_all(context.remote)

    async def main() -> None:
        async with aio.Server(api) as server:
            await server.serve(address)
            async with await aio.connect(address, api=api) as client:
                counts = await asyncio.gather(client.call("callBack"), echo_all(client))
        assert counts == [COUNT, COUNT]

    asyncio.run(main())


@pytest.mark.parametrize("method", METHODS)
def test_a_reader_that_reads_gets_all_replies_however_many_it_asked_for(
    server: str, method: str
) -> None:
    async def main() -> None:
        async with await aio.connect(server) as client:
            calls = [client.call(method, "x", SIZE) for _ in range(COUNT)]
            assert [len(text) for text in await asyncio.gather(*calls)] == [SIZE] * COUNT

    asyncio.run(main())


def test_a_large_batch(server: str) -> None:
    texts = [chr(97 + number) * SIZE for number in range(26)]
    with rpc.connect(server) as client:
        assert client.batch([("test_echoPlain", [text]) for text in texts]) == texts

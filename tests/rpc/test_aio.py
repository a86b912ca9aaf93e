"""npipe.rpc.aio: server and client on an event loop, end to end over a real pipe."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import msgspec
import pytest

import npipe.aio
from npipe import rpc
from npipe.errors import ClosedError
from npipe.rpc import aio

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")


class Service:
    """Functions of every kind, and means to hold them up without sleeping."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.async_gate = asyncio.Event()
        self.entered = threading.Semaphore(0)
        self.running = self.most_running = 0
        self.cancelled = asyncio.Event()
        self.contexts: list[rpc.Context] = []

    @rpc.method(inline=True)
    def add(self, a: int, b: int = 0) -> int:
        return a + b

    @rpc.method(inline=True)
    def big(self, size: int) -> str:
        return "x" * size

    def plain(self, value: Any) -> Any:
        return value

    def thread_name(self) -> str:
        return threading.current_thread().name

    def block(self, value: int) -> int:
        self.entered.release()
        assert self.gate.wait(30)
        return value

    async def wait(self, value: int) -> int:
        self.entered.release()
        try:
            await self.async_gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return value

    @rpc.method(concurrency=2)
    async def two_at_a_time(self) -> int:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(0)
        self.running -= 1
        return self.most_running

    def fail(self) -> None:
        raise rpc.RPCError("no luck", code=444, data={"why": 1})

    async def crash(self) -> None:
        raise ZeroDivisionError("a secret")

    async def call_back(self, method: str, context: rpc.Context) -> Any:
        return await context.remote.call(method, 40, 2)

    async def report(self, steps: int, context: rpc.Context) -> int:
        for step in range(steps):
            context.progress(step)
        return steps

    @rpc.subscription
    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    @rpc.subscription
    def plain_count(self, to: int) -> Iterator[int]:
        yield from range(to)

    @rpc.subscription
    async def endless(self) -> AsyncIterator[int]:
        try:
            yield 0
            self.entered.release()
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    @rpc.subscription
    async def flood(self, size: int) -> AsyncIterator[str]:
        while True:
            yield "x" * size
            self.entered.release()


class Running:
    """A service that is being served at an address of its own."""

    def __init__(self, address: str, service: Service, server: aio.Server) -> None:
        self.address, self.service, self.server = address, service, server

    async def connect(self, **options: Any) -> aio.Client:
        return await aio.connect(self.address, **options)

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await npipe.aio.open_connection(self.address)


@contextlib.asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Running]:
    service, api = Service(), rpc.API()
    api.register("test", service)
    directory = tempfile.mkdtemp(prefix="np")
    name = directory.replace("\\", "-").replace(":", "")
    address = name if sys.platform == "win32" else f"{directory}/s"
    try:
        async with aio.Server(api, **options) as server:
            await server.serve(address)
            yield Running(address, service, server)
            service.gate.set()
    finally:
        shutil.rmtree(directory)


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


@pytest.fixture(params=[*LOOPS, "debug", "eager"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    """Run a coroutine on each kind of loop; nothing may be left of it."""
    if request.param == "eager" and sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")

    def run_it(coroutine: Coroutine[Any, Any, Any]) -> Any:
        factory = LOOPS.get(request.param, asyncio.new_event_loop)
        problems: list[dict[str, Any]] = []
        with asyncio.Runner(debug=request.param == "debug", loop_factory=factory) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda loop, context: problems.append(context))
            if request.param == "eager":
                loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
            result = runner.run(coroutine)
            assert not asyncio.all_tasks(loop)
            gc.collect()
        assert not problems
        return result

    yield run_it


def entered(service: Service, times: int = 1) -> Coroutine[Any, Any, None]:
    async def wait() -> None:
        for _ in range(times):
            while not service.entered.acquire(blocking=False):
                await asyncio.sleep(0.001)

    return asyncio.wait_for(wait(), 20)


def test_calls_of_every_kind(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            assert await client.call("test_add", 1, 2) == 3
            assert await client.call("test_add", named={"b": 2, "a": 5}) == 7
            assert await client.call("test_plain", {"a": [None, 1.5]}) == {"a": [None, 1.5]}
            assert await client.call("test_threadName") == "npipe-worker"
            raw = await client.call("test_plain", "1", result_type=msgspec.Raw)
            assert bytes(raw) == b'"1"'
            assert (await client.modules())["test"] == "1.0"
            await client.notify("test_plain", 1)
            here.service.async_gate.set()
            assert await client.call("test_wait", 9) == 9

    run(main())


def test_many_calls_in_flight_get_their_own_answers(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            for method in ("test_add", "test_plain", "test_wait"):
                here.service.async_gate.set()
                calls = [client.call(method, i) for i in range(1000)]
                assert await asyncio.gather(*calls) == list(range(1000))

    run(main())


def test_errors(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            with pytest.raises(rpc.RPCError) as caught:
                await client.call("test_fail")
            assert (caught.value.code, caught.value.data) == (444, {"why": 1})
            with pytest.raises(rpc.InternalError) as crashed:
                await client.call("test_crash")
            assert "secret" not in str(crashed.value)
            with pytest.raises(rpc.MethodNotFound):
                await client.call("test_nothing")
            with pytest.raises(rpc.InvalidParams):
                await client.call("test_add", "x")
            assert await client.call("test_add", 1) == 1

    run(main())


def test_a_batch_keeps_its_order_and_its_errors(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            here.service.async_gate.set()
            entries = [("test_wait", [1]), ("test_nothing", []), ("test_plain", {"value": 3})]
            one, two, three = await client.batch([*entries, ("test_add", [1, 1])][:3])
            assert (one, three) == (1, 3)
            assert isinstance(two, rpc.MethodNotFound)
            assert await client.batch([]) == []

    run(main())


def test_a_slow_plain_function_holds_up_nothing(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            slow = [asyncio.create_task(client.call("test_block", i)) for i in range(5)]
            await entered(here.service, 5)
            assert await client.call("test_plain", 1) == 1  # on the same connection
            async with await here.connect() as other:
                assert await other.call("test_plain", 2) == 2
            here.service.gate.set()
            assert await asyncio.gather(*slow) == list(range(5))

    run(main())


def test_a_timeout_cancels_the_call_on_the_server(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            with pytest.raises(TimeoutError, match="no answer within"):
                await client.call("test_wait", 1, timeout=0.02)
            await asyncio.wait_for(here.service.cancelled.wait(), 20)
            assert await client.call("test_add", 1) == 1  # not the late answer (rpc bug 9)

    run(main())


def test_cancelling_the_task_cancels_the_call_on_the_server(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            task = asyncio.create_task(client.call("test_wait", 1))
            await entered(here.service)
            task.cancel()
            await asyncio.wait_for(here.service.cancelled.wait(), 20)
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


def test_concurrency_is_kept_over_all_connections(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as one, await here.connect() as two:
            calls = [client.call("test_twoAtATime") for client in (one, two) for _ in range(20)]
            assert max(await asyncio.gather(*calls)) == 2

    run(main())


def test_the_server_calls_back(run: Any) -> None:
    async def main() -> None:
        api = rpc.API()
        api.register("test", Service())
        async with running() as here, await here.connect(api=api) as client:
            assert await client.call("test_callBack", "test_add") == 42

    run(main())


def test_progress(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            heard: list[int] = []
            assert await client.call("test_report", 3, on_progress=heard.append) == 3
            assert heard == [0, 1, 2]

    run(main())


@pytest.mark.parametrize("name", ["count", "plainCount"])
def test_a_subscription_that_ends(run: Any, name: str) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            ticks = await client.subscribe("test", name, 300)
            assert ticks.id.startswith("0x")
            assert [tick async for tick in ticks] == list(range(300))

    run(main())


def test_closing_a_subscription_ends_its_generator(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            async with await client.subscribe("test", "endless") as ticks:
                assert await anext(ticks) == 0
                await entered(here.service)
            await asyncio.wait_for(here.service.cancelled.wait(), 20)
            assert here.server.stats()["subscriptions"] == 0

    run(main())


def test_a_lost_connection_cancels_its_calls_and_subscriptions(run: Any) -> None:
    async def main() -> None:
        async with running() as here:
            client = await here.connect()
            await client.subscribe("test", "endless")
            await entered(here.service)
            call = asyncio.create_task(client.call("test_wait", 1))
            await entered(here.service)
            await client.close()
            with pytest.raises(ClosedError):
                await call
            with pytest.raises(ClosedError):
                await client.call("test_add", 1)
            await asyncio.wait_for(here.service.cancelled.wait(), 20)

    run(main())


def test_a_stopped_server_ends_calls_in_connection_lost(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            call = asyncio.create_task(client.call("test_wait", 1))
            ticks = await client.subscribe("test", "endless")
            await entered(here.service, 2)
            await here.server.stop()
            with pytest.raises(rpc.ConnectionLost) as lost:
                await call
            assert lost.value.maybe_executed
            with pytest.raises(rpc.ConnectionLost):
                [tick async for tick in ticks]
            with pytest.raises(ClosedError):
                await here.server.serve(here.address)

    run(main())


def test_stop_drains(run: Any) -> None:
    async def main() -> None:
        async with running() as here, await here.connect() as client:
            call = asyncio.create_task(client.call("test_wait", 7))
            await entered(here.service)
            stopping = asyncio.create_task(here.server.stop(drain=20))
            await asyncio.sleep(0)
            assert here.server.addresses == []
            here.service.async_gate.set()
            assert await call == 7
            await stopping

    run(main())

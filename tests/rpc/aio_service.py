"""A service with functions of every kind, served on each kind of event loop. For test_aio*.py."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

import npipe.aio
from npipe import rpc
from npipe.rpc import aio
from until import until

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

    def plain_big(self, size: int) -> str:
        return "x" * size

    async def async_big(self, size: int) -> str:
        await self.async_gate.wait()
        return "x" * size

    def plain(self, value: Any) -> Any:
        return value

    def thread_name(self) -> str:
        return threading.current_thread().name

    def block(self, value: int) -> int:
        self.entered.release()
        assert self.gate.wait(60)
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

    def call_back_plain(self, method: str, context: rpc.Context) -> list[Any]:
        remote = context.remote
        remote.notify(method, 1)
        (sum_,) = remote.batch([(method, [1, 2])])
        return [remote.call(method, 40, 2), sum_, remote.modules()["test"]]

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
            self.entered.release()
            yield "x" * size

    @rpc.subscription
    def plain_flood(self, size: int) -> Iterator[str]:
        while True:
            self.entered.release()
            yield "x" * size


class Running:
    """A service that is being served at an address of its own."""

    def __init__(self, address: str, service: Service, server: aio.Server) -> None:
        self.address, self.service, self.server = address, service, server

    async def connect(self, **options: Any) -> aio.Client:
        return await aio.connect(self.address, **options)

    async def raw(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await npipe.aio.open_connection(self.address)


@contextlib.asynccontextmanager
async def running(*, message_mode: bool = False, **options: Any) -> AsyncIterator[Running]:
    service, api = Service(), rpc.API()
    api.register("test", service)
    directory = tempfile.mkdtemp(prefix="np")
    name = directory.replace("\\", "-").replace(":", "")
    address = name if sys.platform == "win32" else f"{directory}/s"
    try:
        async with aio.Server(api, **options) as server:
            await server.serve(address, message_mode=message_mode)
            yield Running(address, service, server)
            service.gate.set()
    finally:
        shutil.rmtree(directory)


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
with contextlib.suppress(ImportError):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


Run = Callable[[Coroutine[Any, Any, None]], None]


def _executor(kind: str) -> Run:
    def run_it(coroutine: Coroutine[Any, Any, None]) -> None:
        problems: list[dict[str, Any]] = []
        factory = LOOPS.get(kind, asyncio.new_event_loop)
        with asyncio.Runner(debug=kind == "debug", loop_factory=factory) as executor:
            loop = executor.get_loop()
            loop.set_exception_handler(lambda loop, context: problems.append(context))
            if kind == "eager":
                loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
            executor.run(coroutine)
            assert not asyncio.all_tasks(loop)
            gc.collect()
        assert not problems

    return run_it


KINDS = [*LOOPS] + (["eager"] if sys.version_info >= (3, 12) else [])
if "WINEPREFIX" not in os.environ:  # debug mode looks up files at each call, which takes ages there
    KINDS.append("debug")
on_each_loop = pytest.mark.parametrize("run", [pytest.param(_executor(k), id=k) for k in KINDS])
"""Gives a test ``run(coroutine)`` for each kind of loop, after which nothing may be left."""


def entered(service: Service, times: int = 1) -> Coroutine[Any, Any, None]:
    async def wait() -> None:
        for _ in range(times):
            await until(lambda: service.entered.acquire(blocking=False))

    return asyncio.wait_for(wait(), 60)

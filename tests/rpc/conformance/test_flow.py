"""Who reads is never dropped, who does not is; nobody waits for ever, nor longer than it said.

Both shells, over real connections: much more in flight than a pipe holds, readers that are slow or
asleep, two ends that call each other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.rpc import aio
from npipe.transport.base import Connection, Listener
from rpc.conftest import ServeAPI
from until import until, wait_until

# Bytes: six of them are far beyond every mark. (Wine moves them at a tenth of the rate.)
LARGE = (2 if sys.platform == "win32" else 20) << 20
SIZE = 1_000_000


class Service:
    """Functions with large parameters and results, each run in a way of its own."""

    def __init__(self) -> None:
        self.calls = 0
        self.heard = threading.Semaphore(0)
        self.held, self.release = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def _count(self) -> None:
        with self._lock:
            self.calls += 1

    def length(self, text: str) -> int:
        return len(text)

    def echo(self, text: str) -> str:
        return text

    def plain(self, size: int) -> str:
        self._count()
        return "x" * size

    @rpc.method(inline=True)
    def inline(self, size: int, context: rpc.Context) -> str:
        return self.plain(size)

    @rpc.method(inline=False)
    def apart(self, size: int) -> str:
        return self.plain(size)

    async def task(self, size: int) -> str:
        return self.plain(size)

    @rpc.method(inline=True)
    def hold(self) -> None:
        self.held.set()
        assert self.release.wait(60)

    def back(self, text: str, context: rpc.Context) -> str:
        """Return what the caller echoes."""
        return str(context.remote.call("test_echo", text))

    @rpc.method(inline=True)
    def hear(self, text: str) -> None:
        self.heard.release()

    @rpc.method(inline=False)
    def shout(self, times: int, text: str, context: rpc.Context) -> None:
        """Notify the caller so many times."""
        for _ in range(times):
            context.remote.notify("test_hear", text)


KINDS = ["plain", "inline", "apart", "task"]


@pytest.fixture
def service() -> Service:
    return Service()


def api_of(service: Service) -> rpc.API:
    api = rpc.API()
    api.register("test", service)
    return api


Served = Callable[..., str]


@pytest.fixture
def served(serve_api: ServeAPI, service: Service, address: str) -> Served:
    def serve(**limits: Any) -> str:
        serve_api(api_of(service), limits=rpc.Limits(**limits))
        return address

    return serve


Calls = list[tuple[str, Any]]


def call_all(address: str, calls: Calls, *, kind: str, **options: Any) -> list[Any]:
    """Make calls at the same time over one connection; return their results in order."""
    if kind == "threads":
        with rpc.connect(address, **options) as client, ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(lambda one: client.call(one[0], one[1]), calls))

    async def main() -> list[Any]:
        async with await aio.connect(address, **options) as client:
            return await asyncio.gather(*(client.call(*one) for one in calls))

    return asyncio.run(main())


each_client = pytest.mark.parametrize("kind", ["threads", "asyncio"])


# Who reads is never dropped


@each_client
@pytest.mark.parametrize("function", KINDS)
def test_six_large_replies_at_once(served: Served, kind: str, function: str) -> None:
    results = call_all(served(), [(f"test_{function}", LARGE)] * 6, kind=kind)
    assert [len(text) for text in results] == [LARGE] * 6


@each_client
def test_six_large_calls_at_once(served: Served, kind: str) -> None:
    assert call_all(served(), [("test_length", "x" * LARGE)] * 6, kind=kind) == [LARGE] * 6


def test_a_reader_that_takes_its_time_but_reads(served: Served) -> None:
    address = served(write_timeout=1)
    with npipe.connect(address) as connection:
        for id in range(5):
            connection.write(request(id, "test_plain", SIZE))
        began, lines, data = time.monotonic(), 0, b""
        while lines < 5:
            if time.monotonic() < began + 3:
                time.sleep(0.05)  # it is this that is tested: a bit at a time, for seconds
            data += (more := connection.read(1 << 16))
            assert more
            lines += more.count(b"\n")
        assert time.monotonic() - began > 3
        for line in data.splitlines():
            assert json.loads(line)["result"] == "x" * SIZE


def request(id: int, method: str, *params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    return json.dumps(message).encode() + b"\n"


# Two ends that call each other


@each_client
def test_large_calls_within_large_calls_both_ways(
    served: Served, service: Service, kind: str
) -> None:
    address = served()
    text = "x" * SIZE
    calls: Calls = [("test_back", text)] * 20
    assert call_all(address, calls, kind=kind, api=api_of(service)) == [text] * 20


@each_client
def test_floods_of_notifications_both_ways(served: Served, kind: str) -> None:
    address, mine, text = served(), Service(), "x" * 50_000
    calls: Calls = [("test_hear", text)] * 200

    if kind == "threads":
        with rpc.connect(address, api=api_of(mine)) as client, ThreadPoolExecutor(1) as pool:
            shouting = pool.submit(client.call, "test_shout", 200, text)
            for call in calls:
                client.notify(*call)
            shouting.result(60)
    else:

        async def main() -> None:
            async with await aio.connect(address, api=api_of(mine)) as client:
                shouting = asyncio.create_task(client.call("test_shout", 200, text))
                for call in calls:
                    await client.notify(*call)
                await shouting
                for _ in range(200):
                    await until(lambda: mine.heard.acquire(blocking=False))
                mine.heard.release(200)

        asyncio.run(main())
    for _ in range(200):
        assert mine.heard.acquire(timeout=60)


@pytest.mark.parametrize(("proxy", "kind"), [("threads", "asyncio"), ("asyncio", "threads")])
def test_much_both_ways_through_a_proxy(
    served: Served, service: Service, proxy: str, kind: str
) -> None:
    address = served()
    many = 30 if sys.platform == "win32" else 150
    calls: Calls = [("test_echo", "x" * SIZE)] * many + [("test_back", "y" * SIZE)] * 10
    options: dict[str, Any] = {"kind": kind, "api": api_of(service), "timeout": 60}
    if proxy == "threads":
        with rpc.Proxy(address) as front:
            front.serve(address + "-proxy")
            results = call_all(address + "-proxy", calls, **options)
    else:

        async def main() -> list[Any]:
            async with aio.Proxy(address) as front:
                await front.serve(address + "-proxy")
                call = partial(call_all, address + "-proxy", calls, **options)
                return await asyncio.to_thread(call)

        results = asyncio.run(main())
    assert results == ["x" * SIZE] * many + ["y" * SIZE] * 10


# Who does not read


def test_async_functions_whose_replies_nobody_reads_hold_up_nobody_else(served: Served) -> None:
    address = served()
    with contextlib.ExitStack() as stack, rpc.connect(address, timeout=20) as client:
        for _ in range(40):  # more than a loop's executor has threads
            connection = stack.enter_context(npipe.connect(address))
            connection.write(request(1, "test_task", SIZE))
            assert connection.read(1) == b"{"
        assert client.call("test_task", 1) == "x"


@pytest.mark.parametrize(("function", "most"), [("plain", 3), ("inline", 3), ("apart", 16)])
def test_no_more_is_begun_for_who_does_not_read_and_then_it_is_dropped(
    served: Served, service: Service, function: str, most: int
) -> None:
    address = served(write_timeout=1, calls=16)
    with npipe.connect(address) as connection:
        with contextlib.suppress(BrokenPipeError, TimeoutError):
            connection.set_write_deadline(time.monotonic() + 60)
            for start in range(0, 10_000, 100):
                calls = (request(id, f"test_{function}", SIZE) for id in range(start, start + 100))
                connection.write(b"".join(calls))
        data = b""
        with contextlib.suppress(ConnectionError):
            connection.set_read_deadline(time.monotonic() + 60)
            wait_until(lambda: dropped(connection))
            while more := connection.read(1 << 20):
                data += more
    assert service.calls <= most
    *lines, rest = data.split(b"\n")
    for line in lines:
        assert json.loads(line)["result"] == "x" * SIZE
    whole = b'{"jsonrpc":"2.0","id":%d,"result":"%b"}' % (len(lines), b"x" * SIZE)
    assert function == "apart" or whole.startswith(rest)


def dropped(connection: Connection) -> bool:
    """Say whether the other end has closed it: nothing is read for that."""
    try:
        connection.write(b" ")
    except OSError:
        return True
    return False


def test_who_has_gone_before_its_first_reply_holds_up_nobody(
    served: Served, service: Service
) -> None:
    address = served()
    with npipe.connect(address) as connection:
        calls = (request(id, "test_inline", SIZE) for id in range(10))
        connection.write(request(99, "test_hold") + b"".join(calls))
        assert service.held.wait(60)
    service.release.set()  # it has gone: the first write finds that out, with calls still to begin
    assert call_all(address, [("test_inline", 1)], kind="threads", timeout=60) == ["x"]


# Callers whose time is limited


class Deaf:
    """A server that accepts one client, and reads when it is told to."""

    def __init__(self, listener: Listener[Connection]) -> None:
        self._listener = listener
        self._connections: list[Connection] = []
        self.accepted = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            self._connections.append(self._listener.accept())
            self.accepted.set()

    def read(self, wanted: int) -> list[dict[str, Any]]:
        """Read so many messages, each of them whole."""
        data, lines = bytearray(), 0
        assert self.accepted.wait(60)
        self._connections[0].set_read_deadline(time.monotonic() + 60)
        while lines < wanted:
            data += (more := self._connections[0].read(1 << 20))
            assert more, "the client has closed"
            lines += more.count(b"\n")
        return [json.loads(line) for line in data.split(b"\n")[:-1]]

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@pytest.fixture
def deaf(address: str) -> Iterator[Deaf]:
    with npipe.listen(address) as listener:
        server = Deaf(listener)
        yield server
        server.close()


LATE = 5.0  # seconds: much less than ``write_timeout``, much more than the timeouts of the calls


@each_client
def test_a_callers_time_goes_on_while_its_call_cannot_be_sent(
    deaf: Deaf, address: str, kind: str
) -> None:
    timeouts = [("there", LARGE), ("there", 10), ("there", LARGE), ("there", 10)]
    began = time.monotonic()
    if kind == "threads":
        with rpc.connect(address) as client:
            for method, size in timeouts:
                with pytest.raises(TimeoutError):
                    client.call(method, "x" * size, timeout=0.2)
            with pytest.raises(TimeoutError):
                client.batch([("there", ["x" * LARGE])], timeout=0.2)
            with pytest.raises(TimeoutError):
                client.subscribe("there", "items", timeout=0.2)
            assert time.monotonic() - began < LATE
            sent, cancelled = deaf.read(2)
    else:

        async def main() -> list[dict[str, Any]]:
            async with await aio.connect(address) as client:
                for method, size in timeouts:
                    with pytest.raises(TimeoutError):
                        await client.call(method, "x" * size, timeout=0.2)
                with pytest.raises(TimeoutError):
                    await client.batch([("there", ["x" * LARGE])], timeout=0.2)
                with pytest.raises(TimeoutError):
                    await client.subscribe("there", "items", timeout=0.2)
                assert time.monotonic() - began < LATE
                return await asyncio.to_thread(deaf.read, 2)

        sent, cancelled = asyncio.run(main())
    # What was begun is ended, whole; what had to wait was never sent.
    assert (sent["method"], len(sent["params"][0])) == ("there", LARGE)
    assert (cancelled["method"], cancelled["params"]) == ("$/cancelRequest", {"id": sent["id"]})


@pytest.mark.skipif(sys.platform == "win32", reason="there a write cannot be cut and go on")
@each_client
def test_a_callers_time_goes_on_while_small_calls_fill_the_pipe(
    deaf: Deaf, address: str, kind: str
) -> None:
    times, text = 400, "x" * 1000  # more than the pipe holds, less than the mark above it
    began = time.monotonic()

    if kind == "threads":
        with rpc.connect(address) as client:
            for _ in range(times):
                with pytest.raises(TimeoutError):
                    client.call("there", text, timeout=0.001)
            assert time.monotonic() - began < LATE + times * 0.02
            messages = deaf.read(200)
    else:

        async def main() -> list[dict[str, Any]]:
            async with await aio.connect(address) as client:
                for _ in range(times):
                    with pytest.raises(TimeoutError):
                        await client.call("there", text, timeout=0.001)
                return await asyncio.to_thread(deaf.read, 200)

        messages = asyncio.run(main())
    assert {message["method"] for message in messages} == {"there", "$/cancelRequest"}


@each_client
def test_callers_that_wait_for_room_get_their_turn_once_there_is(served: Served, kind: str) -> None:
    results = call_all(served(), [("test_length", "x" * SIZE)] * 50, kind=kind, timeout=60)
    assert results == [SIZE] * 50


@each_client
def test_who_waits_for_room_on_a_connection_that_ends_learns_of_it(
    deaf: Deaf, address: str, kind: str
) -> None:
    def close() -> None:
        assert deaf.accepted.wait(60)
        time.sleep(0.2)  # for the calls to wait: what is tested holds either way
        deaf.close()

    if kind == "threads":
        with rpc.connect(address) as client, ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(client.call, "there", "x" * LARGE) for _ in range(3)]
            close()
            for call in calls:
                with pytest.raises(rpc.ConnectionLost):
                    call.result(60)
    else:

        async def main() -> None:
            async with await aio.connect(address) as client:
                calls = [asyncio.create_task(client.call("there", "x" * LARGE)) for _ in range(3)]
                await asyncio.to_thread(close)
                for call in calls:
                    with pytest.raises(rpc.ConnectionLost):
                        await asyncio.wait_for(call, 60)

        asyncio.run(main())


@each_client
def test_a_server_that_never_reads_is_dropped(deaf: Deaf, address: str, kind: str) -> None:
    limits = rpc.Limits(write_timeout=0.3)
    with pytest.raises(rpc.ConnectionLost, match="reads too slowly"):
        call_all(address, [("there", "x" * LARGE)], kind=kind, limits=limits)

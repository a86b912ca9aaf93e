"""A server that is killed and started again, in the midst of a reconnecting client's calls."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc import aio

SERVER = """
import sys
sys.path[:0] = {path!r}
import itertools, time
from npipe import rpc
class Service:
    def echo(self, text: str) -> str: return text
    @rpc.subscription
    def ticks(self):
        for number in itertools.count():
            yield number
            time.sleep(0.001)
api = rpc.API()
api.register("test", Service())
server = rpc.Server(api)
server.serve({address!r})
print("up", flush=True)
server.serve_forever()
"""


class Killable:
    """A server in a process of its own."""

    def __init__(self, address: str) -> None:
        self._command = [sys.executable, "-c", SERVER.format(path=sys.path, address=address)]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == b"up"

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def server(address: str) -> Iterator[Killable]:
    server = Killable(address)
    yield server
    server.kill()


class Tally:
    """What became of the calls of several callers."""

    def __init__(self) -> None:
        self.answered = threading.Semaphore(0)
        self.over = threading.Event()

    def expect(self, count: int) -> None:
        for _ in range(count):
            assert self.answered.acquire(timeout=60)


def check(error: rpc.ConnectionLost, *, idempotent: bool) -> None:
    assert error.maybe_executed
    assert not idempotent


def test_threads_lose_no_call_that_may_be_sent_again(address: str, server: Killable) -> None:
    tally = Tally()

    def work(caller: int) -> None:
        count, idempotent = 0, caller % 2 == 0
        while not tally.over.is_set():
            text = f"{caller}-{count}"
            count += 1
            try:
                assert client.call("test_echo", text, idempotent=idempotent) == text
                tally.answered.release()
            except rpc.ConnectionLost as error:
                check(error, idempotent=idempotent)

    with (
        rpc.connect(address, reconnect=60, timeout=60) as client,
        ThreadPoolExecutor(6) as pool,
    ):
        callers = [pool.submit(work, number) for number in range(6)]
        for _ in range(3):
            tally.expect(200)
            server.kill()
            server.start()
        tally.expect(2000)  # more than were answered before: so after it too
        tally.over.set()
        for caller in callers:
            caller.result(60)


def test_tasks_lose_no_call_that_may_be_sent_again(address: str, server: Killable) -> None:
    tally = Tally()

    async def work(client: aio.Client, caller: int) -> None:
        count, idempotent = 0, caller % 2 == 0
        while not tally.over.is_set():
            text = f"{caller}-{count}"
            count += 1
            try:
                assert await client.call("test_echo", text, idempotent=idempotent) == text
                tally.answered.release()
            except rpc.ConnectionLost as error:
                check(error, idempotent=idempotent)

    def interfere() -> None:
        try:
            for _ in range(3):
                tally.expect(200)
                server.kill()
                server.start()
            tally.expect(2000)
        finally:
            tally.over.set()

    async def main() -> None:
        async with (
            await aio.connect(address, reconnect=60, timeout=60) as client,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(asyncio.to_thread(interfere))
            for number in range(6):
                tasks.create_task(work(client, number))

    asyncio.run(main())


def test_renewed_subscriptions_mark_the_gap_with_threads(address: str, server: Killable) -> None:
    with rpc.connect(address, reconnect=60, timeout=60) as client:
        each = [client.subscribe("test", "ticks", renew=True) for _ in range(3)]
        assert [[s.next(60) for _ in range(3)] for s in each] == [[0, 1, 2]] * 3
        server.kill()
        server.start()
        for subscription in each:
            missed: Any = None
            while (item := subscription.next(60)) is not rpc.GAP:
                missed = item
            assert missed is None or missed > 2
            assert [subscription.next(60) for _ in range(3)] == [0, 1, 2]
            subscription.close()


def test_renewed_subscriptions_mark_the_gap_with_asyncio(address: str, server: Killable) -> None:
    async def main() -> None:
        async with await aio.connect(address, reconnect=60, timeout=60) as client:
            each = [await client.subscribe("test", "ticks", renew=True) for _ in range(3)]
            for subscription in each:
                assert [await anext(subscription) for _ in range(3)] == [0, 1, 2]
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            for subscription in each:
                async with asyncio.timeout(60):
                    while await anext(subscription) is not rpc.GAP:
                        pass
                    assert [await anext(subscription) for _ in range(3)] == [0, 1, 2]

    asyncio.run(main())

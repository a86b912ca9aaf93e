"""Hostile clients beside well-behaved ones, which lose no reply and get each in its order.

``bench/hostile.py`` measures what the well-behaved ones notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

import npipe.aio
from npipe import rpc
from npipe.rpc.threads.loop.pool import COMMON
from rpc.conftest import ServeAPI
from until import until

CLIENTS, ROUNDS = (50, 15) if sys.platform != "win32" else (10, 3)  # Wine takes ten times as long
SECONDS = 60


class Service:
    @rpc.method(inline=True)
    def inline(self, token: str) -> str:
        return token

    def plain(self, token: str) -> str:
        return token

    @rpc.method(inline=False)
    def threaded(self, token: str) -> str:
        return token

    def block(self, context: rpc.Context) -> None:
        ended = threading.Event()
        context.on_cancel(ended.set)
        assert ended.wait(SECONDS)

    def fork(self) -> None:
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)

    @rpc.subscription
    def endless(self) -> Iterator[str]:
        while True:
            yield "x" * 1000


def request(id: int, method: str, *params: str) -> bytes:
    message = {"jsonrpc": "2.0", "id": id, "method": f"t_{method}", "params": params}
    return json.dumps(message).encode() + b"\n"


class Client:
    """A connection. It is cut off at the end of the test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.write, self.cut = writer.write, writer.transport.abort

    async def lines(self, count: int) -> list[bytes]:
        data = []
        while count > 0:
            data.append(await self.reader.read(1 << 18))
            assert data[-1], "the server has closed"
            count -= data[-1].count(b"\n")
        return b"".join(data).splitlines()

    async def ask(self, data: bytes, count: int) -> list[bytes]:
        self.write(data)
        return await self.lines(count)

    async def behave(self, number: int) -> None:
        """Make calls, and check that each has its own reply, in its order."""
        for round in range(ROUNDS):
            tokens = [f"{number} {round} {n}" for n in range(8)]
            calls = [request(n, "inline", token) for n, token in enumerate(tokens)]
            replies = map(json.loads, await self.ask(b"".join(calls), len(calls)))
            assert [(r["id"], r["result"]) for r in replies] == list(enumerate(tokens))
            for n, method in enumerate(("plain", "threaded")):
                (reply,) = map(json.loads, await self.ask(request(n, method, tokens[n]), 1))
                assert (reply["id"], reply["result"]) == (n, tokens[n])


# The attacks. Each goes on until it is cancelled, and tells when it has begun.

Dial = Callable[[], Awaitable[Client]]
Begun = Callable[[], object]
Attack = Callable[[Dial, Begun], Awaitable[None]]


async def repeat(dial: Dial, begun: Begun, data: bytes, count: int) -> None:
    """Ask the same again and again, on four connections."""

    async def one() -> None:
        client = await dial()
        while True:
            await client.ask(data, count)
            begun()

    await asyncio.gather(*(one() for _ in range(4)))


async def flood(dial: Dial, begun: Begun) -> None:
    await repeat(dial, begun, request(1, "inline", "x") * 300, 300)


async def batches(dial: Dial, begun: Begun) -> None:
    calls = b",".join([request(1, "plain", "x").strip()] * 300)
    await repeat(dial, begun, b"[" + calls + b"]\n", 1)


async def large(dial: Dial, begun: Begun) -> None:
    await repeat(dial, begun, request(1, "inline", "x" * 2_000_000), 1)


async def forking(dial: Dial, begun: Begun) -> None:
    await repeat(dial, begun, request(1, "fork"), 1)


async def subscriptions(dial: Dial, begun: Begun) -> None:
    client = await dial()
    client.write(request(1, "subscribe", "endless"))
    while await client.lines(100):
        begun()


async def unread(dial: Dial, begun: Begun) -> None:
    clients = [await dial() for _ in range(20)]
    for client in clients:
        client.write(request(1, "inline", "x" * 1000) * 1000)
    for client in clients:
        await until(lambda client=client: not client.writer.transport.is_reading())  # type: ignore[misc]
    begun()


async def garbage(dial: Dial, begun: Begun) -> None:
    while True:
        client = await dial()
        await client.ask(request(1, "inline", "x") + b"}\n" + random.randbytes(1000), 2)
        client.cut()
        begun()


async def halves(dial: Dial, begun: Begun) -> None:
    clients = [await dial() for _ in range(CLIENTS)]
    for client in clients:
        client.write(request(1, "plain", "x")[:-5])
    while True:
        for client in clients:
            client.write(b"x")
            await asyncio.sleep(0)  # the others run: this client never waits for a reply
        begun()


async def killed(dial: Dial, begun: Begun) -> None:
    while True:
        client = await dial()
        await client.ask(request(1, "block") * 5 + request(2, "inline", "x"), 1)
        client.cut()
        begun()


async def connects(dial: Dial, begun: Begun) -> None:
    while True:
        clients = await asyncio.gather(*(dial() for _ in range(2 * CLIENTS)))
        for client in clients:
            client.write(request(1, "inline", "x"))
        await clients[-1].lines(1)
        for client in clients:
            client.cut()
        begun()


async def blocking(dial: Dial, begun: Begun) -> None:
    client = await dial()
    await client.ask(request(1, "block") * (COMMON + 8) + request(2, "inline", "x"), 1)
    begun()


if sys.platform != "win32":
    import resource

    async def descriptors(dial: Dial, begun: Begun) -> None:
        """Take all descriptors of this process but one, which a client gets, and not its server."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        taken = [os.dup(0)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 100, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            os.close(taken.pop())
            client = await dial()
            client.write(request(1, "inline", "x"))
            begun()
            await client.lines(1)
            raise AssertionError("the server had a descriptor")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for number in taken:
                os.close(number)


ATTACKS: list[Attack] = [
    *(flood, batches, large, unread, subscriptions, garbage, halves, killed, connects, blocking),
    *(() if sys.platform == "win32" else (forking, descriptors)),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_well_behaved_clients_get_all_replies_beside(
    attack: Attack, serve_api: ServeAPI, address: str
) -> None:
    api = rpc.API()
    api.register("t", Service())
    server = serve_api(api)

    async def main() -> None:
        begun = asyncio.Event()
        clients: list[Client] = []

        async def dial() -> Client:
            opened = npipe.aio.open_connection(address, connect_timeout=SECONDS)
            clients.append(Client(*await opened))
            return clients[-1]

        try:
            async with asyncio.timeout(SECONDS):
                good = [await dial() for _ in range(CLIENTS)]
                for client in good:  # the server has accepted it
                    await client.ask(request(1, "inline", "x"), 1)
                async with asyncio.TaskGroup() as tasks:
                    task = tasks.create_task(attack(dial, begun.set))
                    await begun.wait()
                    await asyncio.gather(*(client.behave(n) for n, client in enumerate(good)))
                    task.cancel()
        finally:
            for client in clients:
                client.cut()
                with contextlib.suppress(OSError):
                    await client.writer.wait_closed()
        await until(lambda: not server.stats()["connections"]["open"])
        async with asyncio.timeout(SECONDS):
            client = await dial()
            await client.behave(0)
            client.writer.close()
            await client.writer.wait_closed()

    asyncio.run(main())

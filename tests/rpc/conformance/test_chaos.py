"""Clients that do anything at all, at any moment, beside others that only want an answer."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.transport.base import Connection
from rpc.conftest import ServeAPI
from until import wait_until

ROUNDS = 40  # connections of each hostile client


class Service:
    @rpc.method(inline=False)
    def block(self, context: rpc.Context) -> None:
        ended = threading.Event()
        context.on_cancel(ended.set)
        assert ended.wait(60)

    def plain(self, size: int) -> str:
        return "x" * size

    @rpc.method(inline=True)
    def inline(self, size: int, context: rpc.Context) -> str:
        return "x" * size

    async def task(self, size: int) -> str:
        return "x" * size

    @rpc.method(inline=True)
    def echo(self, text: str) -> str:
        return text

    @rpc.subscription
    def flood(self) -> Iterator[str]:
        while True:
            yield "y" * 1000

    @rpc.subscription
    async def async_flood(self) -> AsyncIterator[str]:
        while True:
            yield "y" * 1000


def request(id: int, method: str, *params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": id, "method": f"test_{method}", "params": params}
    return json.dumps(message).encode() + b"\n"


CANCEL = b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}\n'


def act(connection: Connection, chance: random.Random) -> None:
    """Do one thing, good or bad."""
    method = chance.choice(["plain", "inline", "task"])
    calls = [request(id, method, 100_000) for id in range(chance.randrange(1, 30))]
    size = chance.randrange(1, 1 << 17)
    acts = [
        lambda: connection.write(request(1, method, 10 * size)),
        lambda: connection.write(b"".join(calls)),
        lambda: connection.write(b"[" + b",".join(calls) + b"]"),
        lambda: connection.write(chance.randbytes(1000)),
        lambda: connection.write(request(1, "subscribe", chance.choice(["flood", "asyncFlood"]))),
        lambda: connection.write(request(1, "block") + chance.choice([CANCEL, b""])),
        lambda: connection.read(size),
        connection.close_write,
    ]
    chance.choice(acts)()


def wreak(address: str, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(ROUNDS):
        with contextlib.suppress(OSError), npipe.connect(address) as connection:
            connection.set_deadline(time.monotonic() + 0.3)
            for _ in range(chance.randrange(1, 6)):
                act(connection, chance)


@pytest.mark.parametrize("seed", range(2))
def test_whatever_some_do_the_others_get_their_answers_and_all_is_freed(
    serve_api: ServeAPI, address: str, seed: int
) -> None:
    api = rpc.API()
    api.register("test", Service())
    serve_api(api)
    with ThreadPoolExecutor(6) as pool:
        hostile = [pool.submit(wreak, address, 100 * seed + n) for n in range(6)]
        count = 0
        while not all(one.done() for one in hostile):
            with rpc.connect(address, timeout=60) as client:
                for _ in range(20):
                    assert client.call("test_echo", str(count)) == str(count)
                    count += 1
    with rpc.connect(address, timeout=60) as client:
        assert [client.call(f"test_{m}", 3) for m in ("plain", "inline", "task")] == ["xxx"] * 3
    ends = ("-call", "-feed", "-write")
    wait_until(lambda: not any(t.name.endswith(ends) for t in threading.enumerate()))

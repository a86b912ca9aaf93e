"""npipe's own servers for the benchmarks: ``python -m bench.rpc_server FLAVOUR ADDRESS``.

FLAVOUR is ``npipe-threads``, ``npipe-workers`` (two processes of it), ``npipe-asyncio`` or
``npipe-uvloop``, which all serve the same functions, or ``python-bare``, which serves none.
``npipe-compiled`` and ``npipe-asyncio-compiled`` are the first and the third in the compiled build.
"""

from __future__ import annotations

import asyncio
import gc
import socketserver
import subprocess
import sys
import time
from collections.abc import Iterator

from npipe import rpc

WORKERS = 2
LIMITS = rpc.Limits(connections=20_000)  # idle ones are counted, too


class Web3:
    @rpc.method(inline=True)
    def client_version(self) -> str:
        return "npipe"


class Eth:
    @rpc.method(inline=True)
    def chain_id(self) -> str:
        return "0x539"

    @rpc.method(inline=True)
    def block_number(self) -> str:
        return "0x0"


class User:
    """User functions of the three kinds."""

    @rpc.method(inline=True)
    def inline(self) -> int:
        return 1

    def plain(self) -> int:
        return 1

    async def coroutine(self) -> int:
        return 1


class Echo:
    """Functions of all kinds that return what they get, for loads that check every reply."""

    @rpc.method(inline=True)
    def inline(self, token: str) -> str:
        return token

    def plain(self, token: str) -> str:
        return token

    def slow(self, token: str) -> str:
        time.sleep(0.02)
        return token

    async def coroutine(self, token: str) -> str:
        await asyncio.sleep(0.001)
        return token


class Hostile:
    """Functions that hostile clients call."""

    def block(self) -> None:
        time.sleep(300)

    def fork(self) -> None:
        subprocess.run(["true"], check=True)

    @rpc.subscription
    def endless(self) -> Iterator[str]:
        while True:
            yield "x" * 1000


def api() -> rpc.API:
    api = rpc.API()
    api.register("web3", Web3())
    api.register("eth", Eth())
    api.register("user", User())
    api.register("echo", Echo())
    api.register("hostile", Hostile())
    return api


class Bare(socketserver.BaseRequestHandler):
    """Sends the same reply for each line, without a look at it."""

    def handle(self) -> None:
        reply = b'{"jsonrpc":"2.0","id":1,"result":"0x539"}\n'
        while data := self.request.recv(65536):
            self.request.sendall(reply * data.count(b"\n"))


def main(flavour: str, address: str) -> None:
    if flavour == "python-bare":
        socketserver.ThreadingUnixStreamServer.request_queue_size = 128
        with socketserver.ThreadingUnixStreamServer(address, Bare) as bare:
            bare.serve_forever()
    if flavour == "npipe-workers":
        from npipe.cli.serving.workers import run_workers

        server = rpc.Server(api(), limits=LIMITS)
        run_workers(WORKERS, server, address, {}, lambda at, metrics: None)
        return
    assert rpc.COMPILED is flavour.endswith("-compiled")
    if flavour in ("npipe-threads", "npipe-compiled"):
        server = rpc.Server(api(), limits=LIMITS)
        server.serve(address)
        gc.freeze()  # as ``npipe serve`` does
        server.serve_forever()
        return
    from npipe.rpc import aio

    async def serve() -> None:
        server = aio.Server(api(), limits=LIMITS)
        await server.serve(address)
        gc.freeze()
        await server.serve_forever()

    if flavour == "npipe-uvloop":
        import uvloop

        uvloop.run(serve())
    else:
        asyncio.run(serve())


if __name__ == "__main__":
    main(*sys.argv[1:])

"""HTTP and gRPC servers for the integrations: ``python -m bench.http_server KIND ADDRESS``.

``npipe`` is uvicorn by npipe, ``uds`` is uvicorn's own, ``grpclib`` echoes bytes.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    length = (b"content-length", b"5")
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": b"hello"})


def http(kind: str, address: str) -> None:
    import uvicorn

    from npipe.integrations.uvicorn import Server

    options: Any = {"lifespan": "off", "log_level": "error", "access_log": False}
    if kind == "uds":
        uvicorn.run(app, uds=address, **options)
    else:
        Server(address, uvicorn.Config(app, **options)).run()


METHOD = "/e.Echo/Unary"


def codec() -> Any:
    from grpclib.encoding.base import CodecBase

    class Raw(CodecBase):
        __content_subtype__ = "proto"

        def encode(self, message: Any, message_type: Any) -> bytes:
            return bytes(message)

        def decode(self, data: bytes, message_type: Any) -> Any:
            return data

    return Raw()


async def grpclib(address: str) -> None:
    import grpclib.const

    from npipe.integrations.grpclib import Server

    class Echo:
        async def unary(self, stream: Any) -> None:
            await stream.send_message(await stream.recv_message())

        def __mapping__(self) -> Any:
            kind = grpclib.const.Cardinality.UNARY_UNARY
            return {METHOD: grpclib.const.Handler(self.unary, kind, bytes, bytes)}

    async with Server([Echo()], codec=codec()) as server:
        await server.start(address)
        await server.wait_closed()


def main(kind: str, address: str) -> None:
    if kind == "grpclib":
        asyncio.run(grpclib(address))
    else:
        http(kind, address)


if __name__ == "__main__":
    main(*sys.argv[1:])

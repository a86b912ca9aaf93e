"""gRPC over a pipe by grpclib, against itself and against grpcio's C core."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import npipe
from integrations.conftest import PATIENCE, WINDOWS, identity

pytest.importorskip("grpclib")
import grpclib.client
import grpclib.const
import grpclib.exceptions
import grpclib.server
from grpclib.encoding.base import CodecBase

from npipe.integrations.grpclib import Channel, Server, peer

LARGE = b"x" * 3_000_000
UNARY, STREAM = "/e.Echo/Unary", "/e.Echo/Stream"


class Raw(CodecBase):  # type: ignore[misc]
    """Messages are bytes, so that no generated code is needed."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return data


class Echo:
    async def unary(self, stream: Any) -> None:
        message = await stream.recv_message()
        if message == b"who":
            message = identity(peer(stream)).encode()
        elif message == b"never":
            await asyncio.Event().wait()
        await stream.send_message(message.upper())

    async def stream(self, stream: Any) -> None:
        async for message in stream:
            await stream.send_message(message.upper())

    def __mapping__(self) -> Any:
        kinds = grpclib.const.Cardinality
        return {
            UNARY: grpclib.const.Handler(self.unary, kinds.UNARY_UNARY, bytes, bytes),
            STREAM: grpclib.const.Handler(self.stream, kinds.STREAM_STREAM, bytes, bytes),
        }


def run(address: str, test: Callable[[Any, Any], Any]) -> None:
    async def main() -> None:
        async with Server([Echo()], codec=Raw()) as server:
            await server.start(address)
            async with asyncio.timeout(PATIENCE), Channel(address, codec=Raw()) as channel:
                unary = grpclib.client.UnaryUnaryMethod(channel, UNARY, bytes, bytes)
                stream = grpclib.client.StreamStreamMethod(channel, STREAM, bytes, bytes)
                await test(unary, stream)
        npipe.listen(address).close()  # the name is free again

    asyncio.run(main())


def test_calls(address: str, me: str) -> None:
    async def test(unary: Any, stream: Any) -> None:
        assert await unary(b"hello") == b"HELLO"
        assert await unary(LARGE) == LARGE.upper()
        assert await unary(b"who") == me.upper().encode()
        assert await stream([b"a", b"b", b"c"]) == [b"A", b"B", b"C"]
        assert await asyncio.gather(*(unary(b"x") for _ in range(50))) == [b"X"] * 50

    run(address, test)


def test_a_deadline(address: str) -> None:
    async def test(unary: Any, stream: Any) -> None:
        with pytest.raises((grpclib.exceptions.GRPCError, TimeoutError)):
            await unary(b"never", timeout=0.1)
        assert await unary(b"hello") == b"HELLO"

    run(address, test)


def test_no_server(address: str) -> None:
    async def main() -> None:
        async with Channel(address, codec=Raw()) as channel:
            with pytest.raises(FileNotFoundError):
                await grpclib.client.UnaryUnaryMethod(channel, UNARY, bytes, bytes)(b"")
        async with Channel(address, codec=Raw(), wait=True, connect_timeout=0.05) as channel:
            with pytest.raises(TimeoutError):
                await grpclib.client.UnaryUnaryMethod(channel, UNARY, bytes, bytes)(b"")
        with pytest.raises(ValueError, match="TLS"):
            Channel(address, ssl=True)

    asyncio.run(main())


def test_a_server_that_is_started_twice(address: str) -> None:
    async def main() -> None:
        async with Server([Echo()], codec=Raw()) as server:
            await server.start(address)
            with pytest.raises(RuntimeError):
                await server.start(address)

    asyncio.run(main())


@pytest.mark.skipif(WINDOWS, reason="grpcio has no pipes: that is what this file is for")
def test_grpcio_as_the_client(address: str) -> None:
    grpc = pytest.importorskip("grpc")

    def call() -> tuple[bytes, int, list[bytes]]:
        with grpc.insecure_channel(f"unix:{address}") as channel:
            options = {"request_serializer": bytes, "response_deserializer": bytes}
            unary = channel.unary_unary(UNARY, **options)
            stream = channel.stream_stream(STREAM, **options)
            large = unary(LARGE, timeout=PATIENCE)
            many = list(stream(iter([b"a", b"b"]), timeout=PATIENCE))
            return unary(b"hello", timeout=PATIENCE), len(large), many

    async def test(*_: Any) -> None:
        assert await asyncio.to_thread(call) == (b"HELLO", len(LARGE), [b"A", b"B"])

    run(address, test)


@pytest.mark.skipif(WINDOWS, reason="grpcio has no pipes: that is what this file is for")
def test_grpcio_as_the_server(address: str) -> None:
    grpc = pytest.importorskip("grpc")
    from concurrent.futures import ThreadPoolExecutor

    async def main() -> None:
        async with Channel(address, codec=Raw(), wait=True, connect_timeout=PATIENCE) as channel:
            unary = grpclib.client.UnaryUnaryMethod(channel, UNARY, bytes, bytes)
            assert await unary(b"hello") == b"HELLO"
            assert len(await unary(LARGE)) == len(LARGE)

    size = [("grpc.max_receive_message_length", 1 << 24)]
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, options=size)
        method = grpc.unary_unary_rpc_method_handler(lambda message, context: message.upper())
        handler = grpc.method_handlers_generic_handler("e.Echo", {"Unary": method})
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(f"unix:{address}")
        server.start()
        asyncio.run(main())
        server.stop(None).wait()


def test_the_private_names_that_are_used_exist() -> None:
    assert asyncio.iscoroutinefunction(grpclib.client.Channel._create_connection)
    assert callable(grpclib.client.Channel._protocol_factory)
    assert callable(grpclib.server.Server._protocol_factory)

    async def main() -> None:
        server = grpclib.server.Server([])
        assert server._server is None
        assert server._server_closed_fut is None

    asyncio.run(main())
    from grpclib.protocol import Peer

    assert Peer("transport")._transport == "transport"

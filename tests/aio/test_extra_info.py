"""The extra info of a transport, from ``connection_made`` on."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any, cast

import npipe.aio
from npipe import address as addresses
from npipe.aio.extra_info import Described, Introducer, describe
from npipe.security import PeerIdentity


async def test_streams_know_their_peer_and_addresses(address):
    there: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    server = await npipe.aio.start_server(lambda reader, writer: there.set_result(writer), address)
    async with server:
        _, here = await npipe.aio.open_connection(address)
        for writer in (here, await there):
            peer = writer.get_extra_info("peer")
            assert isinstance(peer, PeerIdentity)
            assert peer.pid == os.getpid()
            if sys.platform != "win32":
                assert peer.uid == os.getuid()
                assert writer.get_extra_info("socket").family == socket.AF_UNIX
            else:
                assert writer.get_extra_info("pipe").fileno() > 0
            assert writer.get_extra_info("peername") == addresses.parse(address)
            assert writer.get_extra_info("sockname") == addresses.parse(address)
            assert writer.get_extra_info("nonsense", "default") == "default"
            writer.close()


async def test_protocols_know_their_peer_when_the_connection_is_made(address):
    class Protocol(asyncio.Protocol):
        def __init__(self) -> None:
            self.lost = asyncio.get_running_loop().create_future()

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport
            self.peer = transport.get_extra_info("peer")

        def connection_lost(self, exc: Exception | None) -> None:
            self.lost.set_result(exc)

    made: list[Protocol] = []

    def factory() -> Protocol:
        made.append(Protocol())
        return made[-1]

    async with await npipe.aio.create_server(factory, address):
        transport, protocol = await npipe.aio.create_connection(factory, address)
        assert transport is protocol.transport
        assert transport.get_protocol() is protocol
        transport.close()
        await asyncio.gather(*(protocol.lost for protocol in made))
    assert [protocol.peer.pid for protocol in made] == [os.getpid()] * 2


class Fake:
    """A transport of a loop, with or without a dictionary for its extra info."""

    def __init__(self, extra: dict[str, Any] | None) -> None:
        if extra is not None:
            self._extra = extra
        self.protocol: Any = None
        self.written: list[bytes] = []

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return "the loop's own" if name == "socket" else default

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        self.written.append(data)


def test_a_transport_with_a_dictionary_stays_what_it_is() -> None:
    fake: Any = Fake({"socket": 1})
    assert describe(fake, {"peer": 2}) is fake
    assert fake._extra == {"socket": 1, "peer": 2}


def test_a_transport_without_one_is_wrapped() -> None:
    fake: Any = Fake(None)
    wrapped = describe(fake, {"peer": 2})
    assert isinstance(cast("object", wrapped), Described)
    assert [wrapped.get_extra_info(name, 0) for name in ("peer", "socket", "other")] == [
        *(2, "the loop's own", 0),
    ]
    wrapped.write(b"x")
    assert fake.written == [b"x"]


def test_a_protocol_that_does_not_read_gets_neither_data_nor_the_end() -> None:
    class Recorder(asyncio.Protocol):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.seen.append(transport.get_extra_info("peer"))

        def data_received(self, data: bytes) -> None:
            self.seen.append("data")

        def eof_received(self) -> None:
            self.seen.append("end")

        def connection_lost(self, exc: Exception | None) -> None:
            self.seen.append("lost")

    fake: Any = Fake(None)
    recorder = Recorder()
    Introducer(recorder, {"peer": "them"}, reads=False).connection_made(fake)
    fake.protocol.data_received(b"x")
    assert fake.protocol.eof_received() is True  # None would close the transport
    fake.protocol.connection_lost(None)
    assert recorder.seen == ["them", "lost"]

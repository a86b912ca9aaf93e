"""Remote pipes for asyncio: a transport on top of the network transport of any loop, as for TLS.

A ``Channel`` holds the state of the open pipe. This module moves its bytes to and from the loop and
implements the interface of ``asyncio.Transport``. No function blocks: the handshake runs in a
separate thread (``npipe.transport.smb.dial``), which ends with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from npipe.address import Address
from npipe.security import PeerIdentity
from npipe.transport.smb import Smb, dial
from npipe.transport.smb.channel import Channel

__all__ = ["SmbTransport", "connect"]

HIGH_WATER: Final = 65536  # bytes; the high-water mark of asyncio for a socket
Verifier = str | Callable[[PeerIdentity], object] | None
ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


async def connect(
    protocol_factory: Callable[[], ProtocolT],
    address: Address,
    remote: Smb,
    *,
    timeout: float | None,
    wait: bool,
    verify_server: Verifier,
    impersonation: str,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Connect to a remote pipe; see ``npipe.aio.create_connection``."""
    dial.check(address, remote, verify_server, impersonation)
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def on_end() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: no task waits
            loop.call_soon_threadsafe(done.set)

    dialling = dial.Dialling(
        address, remote, impersonation, timeout=timeout, wait=wait, on_end=on_end
    )
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(dialling.left()):
                await done.wait()
        result = dialling.result()
    except BaseException:
        dialling.abandon()
        raise
    try:
        peer = dial.server_identity(address, remote)
        dial.verify(peer, address, verify_server)
        protocol = protocol_factory()
        info = {"peer": peer, "peername": address, "sockname": address}
        transport = SmbTransport(
            loop, Channel(result.opened), protocol, info=info, keepalive=remote.keepalive
        )
        await loop.create_connection(lambda: _Network(transport), sock=result.sock)
    except BaseException:
        result.sock.close()
        raise
    return transport, protocol


class _Network(asyncio.Protocol):
    """Protocol of the network transport that passes its events to an SmbTransport."""

    def __init__(self, pipe: SmbTransport) -> None:
        self._pipe = pipe

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pipe._begin(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        self._pipe._arrived(data)

    def eof_received(self) -> None:
        self._pipe._arrived(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipe._end(exc)


class SmbTransport(asyncio.Transport):
    """Transport of an open remote pipe, as ``connect`` returns it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel,
        protocol: asyncio.BaseProtocol,
        *,
        info: dict[str, Any],
        keepalive: float,
    ) -> None:
        super().__init__(info)
        self._loop = loop
        self._channel = channel
        self._keepalive = keepalive
        self._network: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = bytearray()  # bytes written that the server has not confirmed
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._protocol_paused = False  # pause_writing was called
        self._reading = True
        self._ended = False  # eof_received was called
        self._closing = False
        self._error: Exception | None = None
        self.set_protocol(protocol)

    # Interface of asyncio.Transport

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol: Any = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading and not self._closing:
            self._reading = True
            self._loop.call_soon(self._advance)

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        raise NotImplementedError("a remote pipe has no half-close")

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        low = high // 4 if low is None else low
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low
        self._tell_protocol()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return len(self._buffer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return  # as in asyncio: connection_lost has been or will be called
        self._buffer += data
        self._advance()

    def close(self) -> None:
        """Close after the server has confirmed all written bytes."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._advance)

    def abort(self) -> None:
        self._lose(None)

    def __repr__(self) -> str:
        state = "closing" if self._closing else "open"
        return f"<{type(self).__name__} {self.get_extra_info('peername')} {state}>"

    # Events of the network connection

    def _begin(self, network: asyncio.Transport) -> None:
        self._network = network
        self._timer = self._loop.call_later(self._keepalive, self._tick)
        self._protocol.connection_made(self)
        self._advance()

    def _arrived(self, data: bytes) -> None:
        self._channel.receive(data)
        self._advance()

    def _end(self, exc: Exception | None) -> None:
        """End the pipe after the network connection has closed."""
        self._closing = True
        self._network = None
        if self._timer is not None:
            self._timer.cancel()
        self._buffer.clear()
        self._protocol.connection_lost(self._error or exc)

    def _advance(self) -> None:
        """Process the state of the channel: deliver, write, read, flush, in this order.

        Received bytes are delivered first, so that an error found later does not discard them.
        """
        if self._network is None:
            return
        self._deliver()
        self._write_on()
        if self._network is None:
            return
        if self.is_reading() and not self._ended:
            self._channel.request_read()
        self._flush()
        if self._channel.failed is not None:
            self._lose(self._channel.failed)
        elif self._closing and not self._buffer:
            self._lose(None)

    def _deliver(self) -> None:
        channel = self._channel
        while channel.received and self.is_reading():
            self._hand_on(channel.take(len(channel.received)))
        if channel.ended and not channel.received and self.is_reading() and not self._ended:
            self._ended = True
            if not self._protocol.eof_received():
                self.close()

    def _hand_on(self, data: bytes) -> None:
        if not self._buffered:
            self._protocol.data_received(data)
            return
        rest = memoryview(data)
        while rest:
            room = memoryview(self._protocol.get_buffer(len(rest))).cast("B")
            count = min(len(room), len(rest))
            if not count:
                raise RuntimeError("get_buffer() returned an empty buffer")
            room[:count] = rest[:count]
            self._protocol.buffer_updated(count)
            rest = rest[count:]

    def _write_on(self) -> None:
        """Remove the confirmed bytes from the buffer and begin to write the next part."""
        channel = self._channel
        if channel.answered:
            try:
                del self._buffer[: channel.finish_write()]
            except OSError as error:
                self._lose(error)
                return
        if self._buffer and not channel.writing and channel.failed is None:
            with memoryview(self._buffer) as view:
                channel.start_write(view)
        self._tell_protocol()

    def _tell_protocol(self) -> None:
        """Call ``pause_writing`` or ``resume_writing`` by the high-water and low-water marks."""
        size = len(self._buffer)
        if size > self._high and not self._protocol_paused:
            self._protocol_paused = True
            self._protocol.pause_writing()
        elif size <= self._low and self._protocol_paused:
            self._protocol_paused = False
            self._protocol.resume_writing()

    def _flush(self) -> None:
        for frame in self._channel.outgoing():
            if self._network is not None:
                self._network.write(frame)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._keepalive, self._tick)
        if self._channel.awaits:
            self._channel.tick()
            self._advance()

    def _lose(self, error: Exception | None) -> None:
        """Close the network connection; ``connection_lost`` of the protocol follows."""
        self._closing = True
        self._error = self._error or error
        self._buffer.clear()
        if self._network is None or self._network.is_closing():
            return
        self._channel.request_close()
        self._flush()
        if self._network.get_write_buffer_size():
            self._network.abort()  # a server that does not read would keep it open
        else:
            self._network.close()

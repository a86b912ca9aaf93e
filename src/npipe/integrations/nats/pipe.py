"""A connection over NATS, as a transport of asyncio.

Each peer has a subject to which only it subscribes, so the messages of one direction keep their
order. The reply subject of message N is the sender's own subject and N::

    front -> worker   S.<worker>.<conn>        reply  _INBOX.<front>.<conn>.<N>
    worker -> front   _INBOX.<front>.<conn>    reply  S.<worker>.<conn>.<N>

The sender subscribes to its reply subjects too. If message N has no receiver, the broker sends 503
to ``...<N>``: that message and all later ones were not delivered. In place of N there may be:

======== =======================================================================
p        a question whether the peer is alive
a<bytes> the number of bytes read; also the answer to ``p``
d        a request to send no new calls, because this peer is about to leave
q        the answer to ``d``: no call follows
x        the end of the connection
======== =======================================================================
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

__all__ = ["Broker", "LostPipe", "Pipe"]

WINDOW = 1 << 20  # bytes that may be sent and not read by the peer
ACK_EVERY = WINDOW // 4


class Broker(Protocol):
    """The methods of the broker connection that a pipe uses."""

    max_payload: int

    def post(self, subject: str, reply: str, data: bytes) -> None: ...
    def forget(self, pipe: Pipe) -> None: ...


class LostPipe(ConnectionResetError):
    """The connection has ended. ``undelivered_from``: the first byte that was not delivered."""

    def __init__(self, why: str, undelivered_from: int) -> None:
        super().__init__(why)
        self.undelivered_from = undelivered_from


class Pipe(asyncio.Transport):
    """One end of a connection over NATS."""

    def __init__(
        self, broker: Broker, own: str, peer: str, protocol: Any, on_leaving: Callable[[], object]
    ) -> None:
        """Begin a connection between the subjects ``own`` and ``peer``."""
        super().__init__()
        self.own = own
        self.peer = peer
        self.heard: float = time.monotonic()  # time of the peer's last message, or later
        self.quiet: asyncio.Event = (
            asyncio.Event()
        )  # set once the peer has agreed to send no more calls
        self._broker = broker
        self._protocol = protocol
        self._on_leaving = on_leaving
        self._sent = self._seen = 0  # messages
        self._out = self._acked = 0  # bytes written, and bytes read by the peer
        self._in = self._told = 0  # bytes read here, and the number last reported to the peer
        self._starts: deque[tuple[int, int]] = (
            deque()
        )  # number and offset of each message in flight
        self._queue: deque[bytes] = deque()  # waits for room in the window
        self._queued = 0
        self._high = WINDOW
        self._paused = False  # the protocol has been paused
        self._reading = True
        self._held: deque[bytes] = deque()  # received while reading is paused: one window at most
        self._closing = False  # only queued data is sent any more
        self._ended = False
        protocol.connection_made(self)

    # Called by the protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return True if name == "tells_undelivered" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = WINDOW if high is None else high

    def get_write_buffer_size(self) -> int:
        return self._queued

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def write(self, data: Any) -> None:
        if self._closing:
            return
        most = min(self._broker.max_payload, ACK_EVERY)
        view = memoryview(data)
        for at in range(0, len(view), most):
            self._queue.append(bytes(view[at : at + most]))
        self._queued += len(view)
        self._push()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        while self._held and self._reading:
            self._deliver(self._held.popleft())

    def is_reading(self) -> bool:
        return self._reading

    def close(self) -> None:
        """End the connection once the queue has been sent."""
        self._closing = True
        self._push()

    def abort(self) -> None:
        """End at once."""
        self._closing = True
        if not self._ended:
            self._control("x")
            self._end(None)

    # Called for messages of the broker

    def received(self, token: str, data: bytes) -> None:
        """Process a message of the peer."""
        self.heard = time.monotonic()
        if token == "p":
            self._acknowledge()
        elif token == "x":
            self._end(None)
        elif token == "d":
            self._on_leaving()
            self._control("q")
        elif token == "q":
            self.quiet.set()
        elif token[:1] == "a" and token[1:].isdecimal():
            self._acked = max(self._acked, min(int(token[1:]), self._out))
            self._push()
        elif token == str(self._seen + 1):
            self._seen += 1
            if self._reading and not self._held:
                self._deliver(data)
            else:
                self._held.append(data)
        else:
            self._control("x")
            self.lost(
                f"messages were lost or duplicated: {token[:20]} arrived, not {self._seen + 1}"
            )

    def ping(self) -> None:
        """Ask the peer whether it is alive; without a receiver, the broker reports that at once."""
        self._control("p")

    def leave(self) -> None:
        """Ask the peer to send no more calls; ``quiet`` is set once it agrees."""
        self._control("d")

    def undelivered(self, token: str) -> None:
        """Process the broker's report that a message had no receiver."""
        first = None
        if token.isdecimal():
            first = next((start for number, start in self._starts if number >= int(token)), None)
        self.lost("the peer has disconnected", first)

    def lost(self, why: str, undelivered_from: int | None = None) -> None:
        """End the connection with an error."""
        start = self._out if undelivered_from is None else undelivered_from
        self._end(LostPipe(why, start))

    def _push(self) -> None:
        """Send as much as the window allows."""
        while self._starts and self._starts[0][1] < self._acked and len(self._starts) > 1:
            if self._starts[1][1] > self._acked:
                break
            self._starts.popleft()
        while self._queue and self._out - self._acked < WINDOW:
            part = self._queue.popleft()
            self._queued -= len(part)
            self._sent += 1
            self._starts.append((self._sent, self._out))
            self._out += len(part)
            self._broker.post(self.peer, f"{self.own}.{self._sent}", part)
        if self._closing:
            if not self._queue:
                self.abort()
        elif self._queued > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()
        elif self._paused and self._queued <= self._high // 4:
            self._paused = False
            self._protocol.resume_writing()

    def _deliver(self, data: bytes) -> None:
        self._in += len(data)
        if not self._closing:
            self._protocol.data_received(data)
        if self._in - self._told >= ACK_EVERY and not self._closing:
            self._acknowledge()

    def _acknowledge(self) -> None:
        self._told = self._in
        self._control(f"a{self._in}")

    def _control(self, token: str) -> None:
        self._broker.post(self.peer, f"{self.own}.{token}", b"")

    def _end(self, error: Exception | None) -> None:
        self._closing = True
        if not self._ended:
            self._ended = True
            self._broker.forget(self)
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

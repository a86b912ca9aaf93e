"""Recorder: convert chunks of bytes to the events of a tape, without delaying the bytes.

A thread that forwards bytes first appends them to a queue, so the order of the queue is the order
of the events. One thread of the recorder takes them from the queue, finds the messages and passes
the events to the sinks. When more than ``limit`` bytes are queued, recording stops for the
direction concerned; neither the connection nor the memory is affected. A sink that fails is
removed, and the connections continue.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from npipe.errors import ProtocolError
from npipe.recording.tape import Event, Side, message_event
from npipe.rpc.wire import framing
from npipe.security import PeerIdentity

__all__ = ["Recorder", "Recording", "Sink"]

LIMIT = 64 << 20  # largest number of queued bytes
Chunk = tuple[float, "Recording", Side | None, bytes | str]


class Sink(Protocol):
    """Destination of events, such as a tape file. Called only in the recorder's thread."""

    def __call__(self, events: Iterable[Event], /) -> object: ...


class Recorder:
    """Recorder of any number of connections. ``close`` waits until the sinks have all events."""

    def __init__(
        self,
        *sinks: Sink,
        limit: int = LIMIT,
        on_error: Callable[[OSError], object] = lambda error: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the recorder.

        Args:
            sinks: Called with the events. A sink that raises OSError is removed.
            limit: The largest number of queued bytes before recording of a direction stops.
            on_error: Called with the OSError of a sink.
            clock: Returns seconds, for the member ``t`` of the events.
        """
        self._sinks = list(sinks)
        self._limit = limit
        self._on_error = on_error
        self._clock = clock
        self._start = clock()
        self._connections = 0
        self._queue: deque[Chunk] = deque()
        self._queued = 0  # bytes
        self._closed = False
        self._changed = threading.Condition()  # guards the attributes above
        self._thread = threading.Thread(target=self._run, name="npipe-record", daemon=True)
        self._thread.start()

    def open(self, peer: PeerIdentity | None) -> Recording:
        """Begin the recording of a connection.

        Args:
            peer: The identity of the client process; None: unknown.

        Returns:
            The recording, to which the connection's bytes are passed.
        """
        with self._changed:
            self._connections += 1
            recording = Recording(self, self._connections, peer)
        self.put(recording, None, b"")
        return recording

    def put(self, recording: Recording, side: Side | None, data: bytes | str) -> None:
        """Queue bytes or a failure of a connection. Never waits for the sinks.

        Args:
            recording: The recording of the connection.
            side: The sender of the bytes; None: the connection itself.
            data: The bytes, empty at their end; or the reason of a failure.
        """
        with self._changed:
            full = self._queued + len(data) > self._limit and bool(data)
            if self._closed or (side in recording.given_up and data):
                return
            if full and side is not None:
                recording.given_up.add(side)
                data = "the recorder fell behind"
            self._queue.append((self._clock() - self._start, recording, side, data))
            self._queued += len(data)
            if len(self._queue) == 1:
                self._changed.notify()

    def close(self) -> None:
        """Pass the queued events to the sinks and stop. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._queue or self._closed):
                    self._changed.wait()
                chunks, self._queue = self._queue, deque()
                self._queued = 0
                if not chunks:
                    return
            events = [event for chunk in chunks for event in chunk[1].events(*chunk)]
            for sink in tuple(self._sinks):
                try:
                    sink(events)
                except OSError as error:
                    self._sinks.remove(sink)
                    self._on_error(error)


class Recording:
    """Recording of one connection. ``given_up`` is guarded by the recorder's lock."""

    def __init__(self, recorder: Recorder, number: int, peer: PeerIdentity | None) -> None:
        self._recorder = recorder
        self._number = number
        self._peer = peer
        self._framings = {side: framing.make("auto") for side in ("client", "server")}
        self._broken: set[Side] = set()
        self.given_up: set[Side] = set()

    def data(self, side: Side, data: bytes) -> None:
        """Record bytes sent by ``side``, before they are forwarded; empty bytes at its end."""
        self._recorder.put(self, side, data)

    def refused(self, reason: str) -> None:
        """Record that the server could not be reached."""
        self._recorder.put(self, None, reason)

    def events(
        self, at: float, _self: Recording, side: Side | None, data: bytes | str
    ) -> list[Event]:
        """Return the events of one chunk. Called in the recorder's thread."""
        at = round(at, 6)
        if side is None:
            return [self._open_or_refused(at, data)]
        if isinstance(data, str):
            self._broken.add(side)
            return [Event(at, self._number, side, lost=data)]
        if not data:
            ending = Event(at, self._number, side, end=True)
            return [*self._messages(at, side, data), ending]
        return self._messages(at, side, data)

    def _open_or_refused(self, at: float, data: bytes | str) -> Event:
        if data:
            return Event(at, self._number, refused=str(data))
        pid = self._peer and self._peer.pid
        uid = self._peer and self._peer.uid
        return Event(at, self._number, open={"pid": pid, "uid": uid})

    def _messages(self, at: float, side: Side, data: bytes) -> list[Event]:
        if side in self._broken:
            return []
        reader = self._framings[side]
        try:
            messages = reader.feed(data) if data else reader.eof()
        except ProtocolError as error:
            return [self._lost(at, side, error)]
        events = [message_event(at, self._number, side, message) for message in messages]
        if reader.error is not None:
            events.append(self._lost(at, side, reader.error))
        return events

    def _lost(self, at: float, side: Side, error: ProtocolError) -> Event:
        self._broken.add(side)
        return Event(at, self._number, side, lost=str(error))

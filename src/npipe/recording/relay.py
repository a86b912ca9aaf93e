"""Relay: a second address for a server, byte for byte, with an optional recorder."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from npipe import transport
from npipe.errors import ClosedError
from npipe.recording.recorder import Recorder, Recording
from npipe.recording.tape import Side
from npipe.transport.base import Connection, Listener

__all__ = ["Relay"]

CHUNK: Final = 65536  # bytes in one read: the buffer of a pipe on both systems
WATCH: Final = 1.0  # seconds between two checks whether a half-closed peer has disconnected


class Relay:
    """Connects each client of a listener to ``target``, until ``close``.

    Two threads per connection copy the bytes, one for each direction.
    """

    def __init__(
        self,
        target: str,
        *,
        dial: Callable[[], Connection] | None = None,
        recorder: Recorder | None = None,
        timeout: float | None = 5.0,
        on_refused: Callable[[OSError], object] = lambda error: None,
    ) -> None:
        """Make a relay; it accepts no clients yet.

        Args:
            target: The address of the server.
            dial: Connects to the server; replaces ``target`` and ``timeout``.
            recorder: Receives all bytes of the connections.
            timeout: Seconds for connecting to the server; None is no limit.
            on_refused: Called with the error when the server cannot be reached.
        """
        self._dial = dial or partial(transport.connect, target, connect_timeout=timeout)
        self._recorder = recorder
        self._on_refused = on_refused
        self._open: set[Connection] = set()  # the clients' ends
        self._changed = threading.Condition()
        self._accepted = 0.0  # time of the last accepted client, by time.monotonic()

    @property
    def connections(self) -> int:
        """The number of connected clients."""
        with self._changed:
            return len(self._open)

    @property
    def last_accept(self) -> float:
        """The time at which the last client was accepted, in seconds of ``time.monotonic()``."""
        return self._accepted

    def serve(self, listener: Listener[Connection]) -> None:
        """Accept the clients of a listener until it is closed; return at once.

        Args:
            listener: The listener.
        """
        _start(self._accept, listener)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no client is connected.

        Args:
            timeout: Seconds to wait; None is no limit.

        Returns:
            False if clients are still connected after ``timeout``.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._open:
                left = 1.0 if end is None else end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 1.0))  # Windows cannot interrupt an unlimited wait
        return True

    def close(self) -> None:
        """Close every connection."""
        with self._changed:
            clients = tuple(self._open)
        for client in clients:
            client.close()

    def _accept(self, listener: Listener[Connection]) -> None:
        with contextlib.suppress(ClosedError):
            while True:
                client = listener.accept()
                with self._changed:
                    self._open.add(client)
                self._accepted = time.monotonic()
                try:
                    _start(self._serve, client)
                except RuntimeError as error:  # no thread can be started: drop this client
                    self._refuse(client, None, OSError(str(error)))

    def _serve(self, client: Connection) -> None:
        recording = None if self._recorder is None else self._recorder.open(client.peer)
        try:
            server = self._dial()
        except OSError as error:
            self._refuse(client, recording, error)
            return
        _exchange(client, server, recording)
        self._forget(client)

    def _refuse(self, client: Connection, recording: Recording | None, error: OSError) -> None:
        if recording is not None:
            recording.refused(str(error))
        self._on_refused(error)  # before close: a client that sees EOF may end this program
        client.close()
        self._forget(client)

    def _forget(self, client: Connection) -> None:
        with self._changed:
            self._open.discard(client)
            self._changed.notify_all()


def _exchange(client: Connection, server: Connection, recording: Recording | None) -> None:
    """Copy bytes in both directions until both streams have ended; close both connections."""
    ended = {"client": threading.Event(), "server": threading.Event()}

    def carry(source: Connection, sink: Connection, side: Side, other: Side) -> None:
        try:
            while data := source.read(CHUNK):
                if recording is not None:
                    recording.data(side, data)
                sink.write(data)
            if recording is not None:
                recording.data(side, b"")
            ended[side].set()
            _finish(sink)
            _await_end(source, ended[other])
        except OSError:  # one peer has disconnected: close both connections
            if recording is not None and not ended[side].is_set():
                recording.data(side, b"")
            client.close()
            server.close()
        finally:
            ended[side].set()

    back = _start(carry, server, client, "server", "client")
    carry(client, server, "client", "server")
    back.join()
    client.close()
    server.close()


def _await_end(source: Connection, ended: threading.Event) -> None:
    """Wait until the other direction has ended.

    Raises:
        ConnectionResetError: The peer of ``source`` has disconnected. Without this check, the
            connection to a silent server, or a program started for a client, would outlive the
            client.
    """
    while not ended.is_set():
        if source.has_gone():
            raise ConnectionResetError
        ended.wait(WATCH)


def _finish(connection: Connection) -> None:
    """Forward the end of a stream, as far as this kind of connection can.

    A Windows pipe of the byte type has no half-close: the whole connection is closed instead, after
    the peer has read the written bytes.
    """
    try:
        connection.close_write()
    except io.UnsupportedOperation:
        connection.flush()
        connection.close()


def _start(function: Callable[..., None], *args: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=args, name="npipe-relay", daemon=True)
    thread.start()
    return thread

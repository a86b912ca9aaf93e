"""What the tests on the fake kernel share. Each B number in a test is a bug of the seed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from npipe.address import Address
from npipe.transport.windows import connect as windows
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.port import CompletionPort
from npipe.transport.windows.port_channel import PortChannel
from transport.windows.fake_kernel32 import FakeKernel32

ADDRESS = Address("pipe", r"\\.\pipe\test")


QUOTA = 65536  # bytes that a pipe holds

Pair = tuple[WindowsConnection, WindowsConnection]


Spawn = Callable[..., Future[Any]]


def connect(fake: FakeKernel32, **options: Any) -> WindowsConnection:
    return windows.connect(ADDRESS, api=fake, **options)


def listen(fake: FakeKernel32, **options: Any) -> WindowsListener:
    return windows.listen(ADDRESS, api=fake, **options)


def past() -> float:
    return time.monotonic() - 1


def soon() -> float:
    return time.monotonic() + 0.02


class SlowCancel:
    """CancelIoEx as it may be: it returns before the operation has ended."""

    def __init__(self, fake: FakeKernel32, spawn: Spawn) -> None:
        self._cancel = fake.CancelIoEx
        self._spawn = spawn
        self.asked, self.end = threading.Event(), threading.Event()

    def __call__(self, handle: int, overlapped: Any) -> int:
        self._spawn(self._later, handle, overlapped)
        self.asked.set()
        return 0

    def _later(self, handle: int, overlapped: Any) -> None:
        self.end.wait(60)
        self._cancel(handle, overlapped)


def interrupt() -> None:
    raise KeyboardInterrupt


def after(first: Callable[[], None], call: Callable[[int], int]) -> Callable[[int], int]:
    """Return the call with something done before it; a hook would do it under the fake's lock."""
    todo = [first]

    def both(handle: int) -> int:
        if todo:
            todo.pop()()
        return call(handle)

    return both


FAR = Address("pipe", r"\\far\pipe\test", "far")


class HangingNetwork:
    """CreateFile as it may be with another computer: it hangs until CancelSynchronousIo ends it."""

    def __init__(self, result: tuple[int, int]) -> None:
        self._result = result
        self._thread: threading.Thread | None = None
        self.cancelled = threading.Event()

    def open(self, *_: Any) -> tuple[int, int]:
        self._thread = threading.current_thread()
        assert self.cancelled.wait(60)
        return self._result

    def cancel(self, _: int) -> int:
        self.cancelled.set()
        return 0

    def ended(self) -> None:
        """Return once the thread that connected has ended."""
        assert self._thread
        self._thread.join(60)


def listener_as(fake: FakeKernel32, user: str, listener: WindowsListener) -> WindowsConnection:
    """Accept as another user than the one who makes the other calls."""
    me, fake.user = fake.user, user
    try:
        return listener.accept(60)
    finally:
        fake.user = me


class Ours:
    """The server's end of a pair, on a port, as an event loop uses it."""

    def __init__(self, connection: WindowsConnection, port: CompletionPort) -> None:
        self.connection, self.port = connection, port
        channel = connection.attach(port)
        assert channel
        self.channel: PortChannel = channel

    def read(self, size: int = QUOTA) -> bytes:
        """Return the next bytes, or the end."""
        self.channel.arm()
        while not self.channel.readable:
            assert self.port.wait(60_000)
        data = self.connection.read_now(size)
        assert data is not None
        return data

    def write(self, data: bytes) -> None:
        """Write all, waiting whenever the pipe is full."""
        while data:
            data = data[self.connection.write_now(data) :]
            while not self.channel.writable:
                self.port.wait(60_000)

"""The asyncio face on Windows pipes. Needs the Proactor loop, which is asyncio's default there.

The pipes are made, opened and verified by ``npipe.transport``: its descriptor, its exclusive
name, its refusal of other computers. The loop's own duplex transport then carries the bytes.

asyncio has no public way to hand it a pipe, so this is the one file of npipe that uses private
parts of the loop, and these are all:

* ``loop._proactor.accept_pipe`` and ``.send``;
* ``_ProactorDuplexPipeTransport``, the class of the transports, with its ``_force_close``,
  ``_eof_written``, ``_write_fut``, ``_sock`` and ``_closing``;
* ``asyncio.windows_utils.PipeHandle``, what it takes for a pipe.

``tests/aio/test_proactor.py`` looks for each of them on every Python version.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"  # mypy then skips the file elsewhere

import asyncio
import contextlib
import errno
import socket
import time
from asyncio import proactor_events, trsock, windows_utils
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from npipe.address import Address
from npipe.aio.server import Backoff, Client
from npipe.security import PeerIdentity
from npipe.transport import windows_handles as handles
from npipe.transport.kernel32 import Kernel32, load
from npipe.transport.winerror import ERROR_PIPE_BUSY, error

__all__ = ["connect", "listen"]

INSTANCES = 4  # seats kept free for clients
FEWEST_INSTANCES = 2  # one may be in use while the next is made

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


async def connect(
    protocol_factory: Callable[[], ProtocolT],
    address: Address,
    *,
    timeout: float | None,
    wait: bool,
    verify_server: Any,
    impersonation: Any,
) -> tuple[asyncio.Transport, ProtocolT]:
    """See ``npipe.aio.create_connection``."""
    proactor_loop()
    api = load()
    handle = await dial(address, impersonation, api, timeout=timeout, wait=wait)
    pipe = Pipe(handle, address, api, server_end=False)
    try:
        handles.verify(handle, address, verify_server, api)
        protocol = protocol_factory()
        return await pipe.open(protocol), protocol
    except BaseException:
        pipe.close()
        raise


async def dial(
    address: Address,
    impersonation: handles.Impersonation,
    api: Kernel32,
    *,
    timeout: float | None,
    wait: bool,
) -> int:
    """Return the handle of a connected pipe. Opening one never blocks; waiting is for the loop."""
    deadline = None if timeout is None else time.monotonic() + timeout
    for pause in handles.pauses():
        code, handle = handles.open_client(address, impersonation, api)
        if not code:
            return handle
        if not handles.may_retry(code, wait):
            raise error(code, address.path)
        left = pause if deadline is None else deadline - time.monotonic()
        if left <= 0:
            why = "the server stayed busy" if code == ERROR_PIPE_BUSY else "no server came"
            raise TimeoutError(errno.ETIMEDOUT, f"{why} within {timeout} s", address.path)
        await asyncio.sleep(min(pause, left))
    raise AssertionError("the pauses never end")


def listen(
    address: Address,
    *,
    access: str | int,
    backlog: int | None,
    message_mode: bool,
    reject_remote: bool,
    buffer_size: int,
) -> PipeAcceptor:
    """Claim the name; clients can connect from here on."""
    loop = proactor_loop()
    maker = handles.PipeMaker(
        address,
        access=access,
        message_mode=message_mode,
        reject_remote=reject_remote,
        buffer_size=buffer_size,
    )
    return PipeAcceptor(loop, maker, INSTANCES if backlog is None else backlog)


def proactor_loop() -> asyncio.ProactorEventLoop:
    """Return the running loop if it can serve pipes."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.ProactorEventLoop):
        return loop
    raise NotImplementedError(
        f"this loop, a {type(loop).__name__}, cannot wait for a Windows pipe: only the Proactor "
        f"loop can. It is asyncio's default; look for a WindowsSelectorEventLoopPolicy or another "
        f"loop in your program, or use npipe.connect and npipe.listen in threads"
    )


class Pipe(windows_utils.PipeHandle):
    """One end of a pipe, as the loop wants it: something like a socket."""

    def __init__(self, handle: int, address: Address, api: Kernel32, *, server_end: bool) -> None:
        super().__init__(handle)
        self.address = address
        self.message_mode = False
        self.on_close: Callable[[], None] | None = None
        self._api = api
        self._server_end = server_end
        self._peer = PeerIdentity()

    async def open(self, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Hand the pipe over to the loop, and its transport to ``protocol``."""
        loop = proactor_loop()
        self.message_mode = handles.carries_messages(self.fileno(), self._api)
        met = loop.create_future()
        transport = PipeTransport(loop, self, protocol, met, Information(self))
        try:
            await met
        except BaseException:
            transport.close()
            raise
        return transport

    def fileno(self) -> int:
        return -1 if self.handle is None else self.handle

    def has_gone(self) -> bool:
        """Say whether the client has closed already and left nothing to read."""
        gone, left = self._api.PeekNamedPipe(self.fileno())
        return bool(gone) and not left

    @property
    def peer(self) -> PeerIdentity:
        """Who is at the other end. A client's SID may be known only once it has sent something."""
        if self.handle is not None and self._peer.sid is None:
            with contextlib.suppress(OSError):  # it has gone: what was known before stands
                self._peer = handles.peer_of(self.handle, self._api, server_end=self._server_end)
        return self._peer

    def shutdown(self, how: int) -> None:
        """Send a message of no bytes, the end of the stream on a message pipe.

        The transport calls this after ``write_eof``, and with SHUT_RDWR before it closes, which a
        pipe does not need.
        """
        if how == socket.SHUT_WR:
            proactor: Any = proactor_loop()._proactor  # type: ignore[attr-defined]
            proactor.send(self, b"").add_done_callback(lambda f: f.cancelled() or f.exception())

    def disconnect(self) -> None:
        """Clear the seat of a client that has gone, for the next one."""
        self._api.DisconnectNamedPipe(self.fileno())

    def close(self, **options: Any) -> None:
        super().close(**options)
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()


class Information(dict[str, Any]):
    """A transport's extra info, in which "peer" is looked up when asked for."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__(peername=pipe.address, sockname=pipe.address)
        self._pipe = pipe

    def get(self, name: str, default: Any = None) -> Any:
        return self._pipe.peer if name == "peer" else super().get(name, default)


_LoopTransport: Any = proactor_events._ProactorDuplexPipeTransport


class PipeTransport(_LoopTransport):  # type: ignore[misc]
    """The loop's transport, with half-close on message pipes, and exact errors."""

    _sock: Pipe
    _eof_written: bool

    def can_write_eof(self) -> bool:
        return not self._closing and self._sock.message_mode

    def write_eof(self) -> None:
        if self._closing or self._eof_written:
            return
        if not self.can_write_eof():
            raise NotImplementedError("a pipe of the byte type cannot be half closed")
        self._eof_written = True
        if self._write_fut is None:
            self._sock.shutdown(socket.SHUT_WR)

    def _force_close(self, exc: BaseException | None) -> None:
        code = getattr(exc, "winerror", None)
        super()._force_close(error(code) if code else exc)


class PipeAcceptor:
    """Keeps several instances waiting for clients, each by an operation of the loop.

    The next instance is made before a client gets one, so the name never vanishes.
    """

    def __init__(
        self, loop: asyncio.ProactorEventLoop, maker: handles.PipeMaker, backlog: int
    ) -> None:
        if not isinstance(backlog, int) or backlog < 0:
            raise ValueError(f"backlog={backlog!r}: give a number of clients that may wait")
        self._loop = loop
        self._maker = maker
        self._backoff = Backoff(loop, maker.address)
        self._arrived: Callable[[Client], None] | None = None
        self._waiting: dict[Pipe, asyncio.Future[Any] | asyncio.TimerHandle | None] = {}
        try:
            for _ in range(max(backlog, FEWEST_INSTANCES)):
                self._waiting[self._make()] = None
        except BaseException:
            self.close()
            raise

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        return ()

    def start(self, arrived: Callable[[Client], None]) -> None:
        self._arrived = arrived
        for pipe in tuple(self._waiting):
            self._wait(pipe)

    def close(self) -> None:
        self._arrived = None
        waiting, self._waiting = self._waiting, {}
        for pipe, operation in waiting.items():
            if operation is not None:
                operation.cancel()
            pipe.close()
        self._maker.close()

    def _make(self) -> Pipe:
        return Pipe(self._maker.create(), self._maker.address, self._maker.api, server_end=True)

    def _wait(self, pipe: Pipe) -> None:
        """Have ``_came`` called when a client has connected to ``pipe``."""
        if pipe not in self._waiting:
            return  # closed meanwhile
        proactor: Any = self._loop._proactor  # type: ignore[attr-defined]
        try:
            operation = proactor.accept_pipe(pipe)
        except OSError as problem:
            self._again(pipe, problem)
        else:
            self._waiting[pipe] = operation
            operation.add_done_callback(partial(self._came, pipe))

    def _came(self, pipe: Pipe, operation: asyncio.Future[Any]) -> None:
        if pipe not in self._waiting or operation.cancelled():
            return
        if problem := operation.exception():
            self._again(pipe, problem)
        elif pipe.has_gone():
            self._again(pipe, BrokenPipeError())
        else:
            self._seat(pipe)

    def _seat(self, pipe: Pipe) -> None:
        """Make the next instance and give this one to the server.

        While the system has no room for another, the client waits.
        """
        if pipe not in self._waiting or self._arrived is None:
            return
        try:
            successor = self._make()
        except OSError as problem:
            self._waiting[pipe] = self._backoff.failed(problem, partial(self._seat, pipe))
            return
        self._backoff.clear()
        del self._waiting[pipe]
        self._waiting[successor] = None
        self._wait(successor)
        self._arrived(pipe)

    def _again(self, pipe: Pipe, problem: BaseException) -> None:
        """Waiting failed: the client came and went (EPIPE), or something is wrong."""
        pipe.disconnect()
        if isinstance(problem, BrokenPipeError):
            self._loop.call_soon(self._wait, pipe)
        elif isinstance(problem, OSError):
            self._waiting[pipe] = self._backoff.failed(problem, partial(self._wait, pipe))
        else:
            raise problem

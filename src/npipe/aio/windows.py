"""Windows pipes for asyncio: connecting and listening.

``npipe.transport`` creates, opens and verifies the pipes, with its security descriptor, its
exclusive name and its refusal of remote clients. The transports of the loop are in
``proactor.py``.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"  # mypy then skips the file elsewhere

import asyncio
import contextlib
import time
from asyncio import trsock
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from npipe.address import Address
from npipe.aio.proactor import Pipe
from npipe.aio.server import AcceptedClient, AcceptRetry
from npipe.aio.threaded import ThreadAcceptor, ThreadTransport
from npipe.transport.checks import require_mode
from npipe.transport.connecting import Attempts
from npipe.transport.windows import handles
from npipe.transport.windows.connect import is_refused, reason, remote_open
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.identity import require_verify, verify
from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.maker import NameHeld, PipeMaker, claim_pauses
from npipe.transport.windows.winerror import error

__all__ = ["connect", "listen"]

INSTANCES = 4  # number of free instances that wait for clients
FEWEST_INSTANCES = 2  # so that one stays free while the next is made

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)


async def connect(
    protocol_factory: Callable[[], ProtocolT],
    address: Address,
    *,
    timeout: float | None,
    wait: bool,
    verify_server: Any,
    impersonation: Any,
    mode: Any,
) -> tuple[asyncio.Transport, ProtocolT]:
    """Connect to a Windows pipe; see ``npipe.aio.create_connection``."""
    require_verify(verify_server)
    require_mode(mode)
    api = load()
    handle = await dial(address, impersonation, api, timeout=timeout, wait=wait, mode=mode)
    if not isinstance(asyncio.get_running_loop(), asyncio.ProactorEventLoop):
        connection = _adopt(handle, address, verify_server, api, mode)
        return _over_threads(protocol_factory, connection)
    pipe = Pipe(handle, address, api, server_end=False, mode=mode)
    try:
        verify(handle, address, verify_server, api)
        pipe.message_mode = handles.prepare_client(handle, api)
        protocol = protocol_factory()
        return await pipe.open(protocol), protocol
    except BaseException:
        pipe.close()
        raise


def _adopt(
    handle: int, address: Address, verify_server: Any, api: Kernel32, mode: str
) -> WindowsConnection:
    """Verify the server and make a connection for threads."""
    try:
        verify(handle, address, verify_server, api)
        message_mode = handles.prepare_client(handle, api)
        return WindowsConnection(
            api, handle, address, server_end=False, message_mode=message_mode, mode=mode
        )
    except BaseException:
        api.CloseHandle(handle)
        raise


def _over_threads(
    protocol_factory: Callable[[], ProtocolT], connection: WindowsConnection
) -> tuple[asyncio.Transport, ProtocolT]:
    """Make a transport with threads, for a loop without a Proactor."""
    try:
        protocol = protocol_factory()
        return ThreadTransport(asyncio.get_running_loop(), connection, protocol), protocol
    except BaseException:
        connection.close()
        raise


async def dial(
    address: Address,
    impersonation: handles.Impersonation,
    api: Kernel32,
    *,
    timeout: float | None,
    wait: bool,
    mode: handles.Mode = "rw",
) -> int:
    """Return the handle of a connected pipe; retry after pauses while the server is busy.

    Opening a pipe of this computer never blocks; one of another computer is opened in a thread.
    """
    handles.require_impersonation(impersonation)
    attempts = Attempts(address, timeout)
    start = time.monotonic()
    while True:
        if address.host is None:
            code, handle = handles.open_client(address, impersonation, api, mode)
        else:
            code, handle = await open_remote(address, impersonation, api, attempts.deadline, mode)
        if not code:
            return handle
        if not handles.may_retry(code, wait) or is_refused(address, code, attempts.deadline, start):
            raise error(code, address.path)
        await asyncio.sleep(attempts.pause(reason(address, code)))


async def open_remote(
    address: Address,
    impersonation: handles.Impersonation,
    api: Kernel32,
    due: float | None,
    mode: handles.Mode = "rw",
) -> tuple[int, int]:
    """Try once to open the pipe of another computer, in a thread.

    Reaching another computer, or failing to, can take a minute. At the deadline this function
    returns without waiting for the thread, which then closes any handle that it gets.

    Args:
        address: Address of the pipe.
        impersonation: The level that is granted to the server.
        api: The bindings.
        due: Deadline, a value of ``time.monotonic()`` in seconds; None for no deadline.
        mode: "r", "w" or "rw".

    Returns:
        (Windows error code, handle).
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def ended() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(done.set)

    opening = remote_open(address, impersonation, api, mode, ended)
    opening.start()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else due - time.monotonic()):
                await done.wait()
        return opening.finish(patience=0)  # it may have succeeded at the last moment
    except BaseException:
        code, handle = opening.finish(patience=0)
        if not code:
            api.CloseHandle(handle)
        raise


async def listen(
    address: Address,
    *,
    access: str | int,
    backlog: int | None,
    message_mode: bool,
    reject_remote: bool,
    buffer_size: int,
    mode: Any,
) -> PipeAcceptor | ThreadAcceptor:
    """Create the pipe, so that clients can connect; see ``npipe.aio.create_server``.

    Retries for about one second while clients of an earlier server still hold the name.
    """
    if backlog is None:
        backlog = INSTANCES
    elif not isinstance(backlog, int) or backlog < 0:
        raise ValueError(f"backlog={backlog!r}: give a number of clients that may wait")
    maker = PipeMaker(
        address,
        access=access,
        message_mode=message_mode,
        reject_remote=reject_remote,
        buffer_size=buffer_size,
        mode=mode,
    )
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.ProactorEventLoop):
        make = partial(WindowsListener, maker, backlog=backlog)
        return ThreadAcceptor(await loop.run_in_executor(None, make))
    for pause in claim_pauses():
        try:
            return PipeAcceptor(maker, max(backlog, FEWEST_INSTANCES))
        except NameHeld:
            await asyncio.sleep(pause)
    try:
        return PipeAcceptor(maker, max(backlog, FEWEST_INSTANCES))
    except NameHeld:
        maker.close()
        raise


class PipeAcceptor:
    """Acceptor with several pipe instances, each of which waits for a client on the loop.

    It creates the next instance before it passes one to a client, so that the name always exists.
    """

    def __init__(self, maker: PipeMaker, instances: int) -> None:
        """Take ownership of ``maker`` and create the first instances."""
        self._loop = asyncio.get_running_loop()
        self._maker = maker
        self._retry = AcceptRetry(self._loop, maker.address)
        self._arrived: Callable[[AcceptedClient], None] | None = None
        self._waiting: dict[Pipe, asyncio.Future[Any] | asyncio.TimerHandle | None] = {}
        try:
            for _ in range(instances):
                self._waiting[self._make()] = None
        except NameHeld:
            raise  # the first instance could not be made; the maker can be tried again
        except BaseException:
            self.close()
            raise

    @property
    def sockets(self) -> tuple[trsock.TransportSocket, ...]:
        return ()

    def start(self, arrived: Callable[[AcceptedClient], None]) -> None:
        self._arrived = arrived
        for pipe in tuple(self._waiting):
            self._wait(pipe)

    def close(self) -> None:
        self._arrived = None
        waiting, self._waiting = self._waiting, {}
        for pipe, operation in waiting.items():
            if operation is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    operation.cancel()
            pipe.close()
        self._maker.close()

    def _make(self) -> Pipe:
        maker = self._maker
        return Pipe(
            maker.create(),
            maker.address,
            maker.api,
            server_end=True,
            message_mode=maker.message_mode,
            mode=maker.mode,
            proven_sid=maker.proven_sid,
        )

    def _wait(self, pipe: Pipe) -> None:
        """Wait for a client on ``pipe``; call ``_came`` when one has connected."""
        if pipe not in self._waiting:
            return  # closed meanwhile
        try:
            operation = pipe.wait_for_client()
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
            self._serve(pipe)

    def _serve(self, pipe: Pipe) -> None:
        """Create the next instance and pass this one to the server.

        If the system cannot create another instance, the client waits until it can.
        """
        if pipe not in self._waiting or self._arrived is None:
            return
        try:
            successor = self._make()
        except OSError as problem:
            self._waiting[pipe] = self._retry.failed(problem, partial(self._serve, pipe))
            return
        self._retry.succeeded()
        del self._waiting[pipe]
        self._waiting[successor] = None
        self._wait(successor)
        self._arrived(pipe)

    def _again(self, pipe: Pipe, problem: BaseException) -> None:
        """Wait for a client again after one disconnected (EPIPE) or after another error.

        A client that left unread bytes before it disconnected is served.
        """
        if isinstance(problem, BrokenPipeError) and pipe.has_data():
            self._serve(pipe)
            return
        pipe.reset()
        if isinstance(problem, BrokenPipeError):
            self._loop.call_soon(self._wait, pipe)
        elif isinstance(problem, OSError):
            self._waiting[pipe] = self._retry.failed(problem, partial(self._wait, pipe))
        else:
            raise problem

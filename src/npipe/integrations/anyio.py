"""Pipes as streams of anyio: for trio, and for every asyncio loop, a Selector loop on Windows too.

    async with await connect("name") as stream:
        await stream.send(b"hello")

    listener = await listen("name")
    await listener.serve(handle)

Each call runs in a worker thread. To cancel it, its deadline is set to the past. This wakes the
thread and loses no byte, because the data of a completed read is kept for the next one. Each call
costs a thread switch, so ``npipe.aio`` is faster with asyncio on a loop that can wait for pipes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Unpack

import npipe
from npipe.errors import ClosedError
from npipe.integrations import missing

try:
    import anyio
    import anyio.lowlevel
    from anyio import to_thread
    from anyio.abc import ByteStream, SocketAttribute, SocketListener, TaskGroup
except ModuleNotFoundError as _error:
    raise missing("anyio", _error) from None

if TYPE_CHECKING:
    from npipe.integrations.options import ConnectOptions, ListenOptions

__all__ = ["PipeListener", "PipeStream", "connect", "listen"]

PAST: Final = 0.0  # a deadline that has passed
TURN: Final = 0.1  # seconds between checks for cancellation in a call that cannot be woken


async def connect(
    address: str | npipe.Address,
    *,
    connect_timeout: float | None = None,
    **options: Unpack[ConnectOptions],
) -> PipeStream:
    """Connect to a server.

    Args:
        address: Address of the server.
        connect_timeout: Seconds for connecting; None means no limit.
        options: Options of ``npipe.connect``.

    Raises:
        TimeoutError: No server accepted before the timeout.
        OSError: As ``npipe.connect``.
    """
    end = None if connect_timeout is None else time.monotonic() + connect_timeout
    while True:
        left = TURN if end is None else min(TURN, max(end - time.monotonic(), 0))
        try:
            connection = await _shielded(
                partial(npipe.connect, address, connect_timeout=left, **options)
            )
        except TimeoutError:
            if end is not None and time.monotonic() >= end:
                raise
        else:
            return PipeStream(connection)


async def listen(address: str | npipe.Address, **options: Unpack[ListenOptions]) -> PipeListener:
    """Listen at ``address``, with the options and the errors of ``npipe.listen``."""
    return PipeListener(npipe.listen(address, **options))


class PipeStream(ByteStream):
    """A connection as an ``anyio.abc.ByteStream``. Its ``peer`` is the identity of the peer."""

    def __init__(self, connection: npipe.Connection) -> None:
        self._connection = connection
        self._received = b""  # data that a cancelled receive had read
        # Separate limiters: 40 waiting receives would exhaust anyio's common one.
        self._reading, self._writing = anyio.CapacityLimiter(1), anyio.CapacityLimiter(1)
        # A second receive at the same time would be cancelled with the first.
        self._receiving = anyio.ResourceGuard("reading from")
        self._sending = anyio.ResourceGuard("writing to")

    @property
    def peer(self) -> npipe.PeerIdentity:
        return self._connection.peer

    async def receive(self, max_bytes: int = 65536) -> bytes:
        def read() -> None:
            self._received = self._connection.read(max_bytes)
            ended.append(not self._received)

        ended: list[bool] = []
        with self._receiving:
            if not self._received:
                await _cancellable(read, self._connection.set_read_deadline, self._reading)
            else:
                await anyio.lowlevel.checkpoint()
            if ended == [True]:
                raise anyio.EndOfStream
            data, self._received = self._received[:max_bytes], self._received[max_bytes:]
            return data

    async def send(self, item: bytes) -> None:
        """Send all of ``item``. If it is cancelled, the number of sent bytes is unknown."""

        def write() -> None:
            self._connection.write(item)

        with self._sending:
            await _cancellable(write, self._connection.set_write_deadline, self._writing)

    async def send_eof(self) -> None:
        """Close this direction. Raises io.UnsupportedOperation on a Windows pipe of bytes."""
        self._connection.set_write_deadline(None)  # a cancelled send leaves a deadline in the past
        self._connection.close_write()
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self._connection.close()
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        connection = self._connection
        return {
            SocketAttribute.local_address: lambda: str(connection.local_address),
            SocketAttribute.remote_address: lambda: str(connection.remote_address),
        }


class PipeListener(SocketListener):
    """A listener as an ``anyio.abc.Listener`` of ``PipeStream``."""

    def __init__(self, listener: npipe.Listener[npipe.Connection]) -> None:
        self._listener = listener
        self._limiter = anyio.CapacityLimiter(1)
        self._accepting = anyio.ResourceGuard("accepting from")

    async def accept(self) -> PipeStream:
        """Return the next client's stream."""

        def accept() -> None:
            accepted.append(self._listener.accept())

        accepted: list[npipe.Connection] = []
        try:
            with self._accepting:
                await _cancellable(accept, self._listener.set_deadline, self._limiter)
        except BaseException:
            for connection in accepted:  # accepted while the accept was cancelled
                connection.close()
            raise
        return PipeStream(accepted[0])

    async def serve(
        self, handler: Callable[[PipeStream], Any], task_group: TaskGroup | None = None
    ) -> None:
        """Run ``handler`` for each client, in ``task_group`` or one of its own."""
        async with anyio.create_task_group() as own:
            while True:
                stream = await self.accept()
                (task_group or own).start_soon(_handle, handler, stream)

    async def aclose(self) -> None:
        self._listener.close()
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return {SocketAttribute.local_address: lambda: str(self._listener.address)}


async def _handle(handler: Callable[[PipeStream], Any], stream: PipeStream) -> None:
    async with stream:
        await handler(stream)


async def _shielded(call: Callable[[], Any]) -> Any:
    """Run a short ``call`` in a thread to its end; only the wait before it can be cancelled."""
    await anyio.lowlevel.checkpoint_if_cancelled()
    with anyio.CancelScope(shield=True):
        return await to_thread.run_sync(call, limiter=anyio.CapacityLimiter(1))


async def _cancellable(
    call: Callable[[], None], set_deadline: Callable[[float | None], None], limiter: Any
) -> None:
    """Run ``call`` in a thread. If cancelled, set its deadline to the past and wait for its end."""
    error: OSError | None = None

    async def cancel() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            if not ended:
                set_deadline(PAST)

    ended = False
    try:
        set_deadline(None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            with anyio.CancelScope(shield=True):
                try:
                    await to_thread.run_sync(call, limiter=limiter)
                except OSError as problem:
                    error = problem
                ended = True
            tasks.cancel_scope.cancel()
        await (
            anyio.lowlevel.checkpoint_if_cancelled()
        )  # raise the cancellation, not the TimeoutError of the deadline
        if error is not None:
            raise error
    except ClosedError as closed:
        raise anyio.ClosedResourceError from closed
    except OSError as broken:
        raise anyio.BrokenResourceError from broken

"""A pipe's handle and the Proactor loop: the only module that uses private parts of a loop.

asyncio's public methods make no transport of a handle that it has not opened itself, and open no
pipe in a way that would be safe. So the handles come from ``npipe.transport``, the loop's own
duplex transport carries their bytes, and these private parts of asyncio bring them together:

* ``loop._proactor``, its ``accept_pipe`` and its ``send``;
* ``_ProactorDuplexPipeTransport``, the class of the transports, with its ``_force_close``,
  ``_loop_writing``, ``_buffer``, ``_eof_written``, ``_write_fut``, ``_sock``, ``_closing`` and
  ``_sendfile_compatible``;
* ``asyncio.windows_utils.PipeHandle``, what it takes for a pipe.

``tests/aio/test_proactor.py`` looks for each of them on every Python version. Connecting and
listening are in ``windows.py``.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"  # mypy then skips the file elsewhere

import asyncio
import contextlib
import errno
import socket
from asyncio import constants, proactor_events, windows_utils
from collections import deque
from collections.abc import Callable
from typing import Any

from npipe.address import Address
from npipe.security import PeerIdentity
from npipe.transport.windows.connection import LONGEST_REMOTE_WRITE, WRITE_SIZE
from npipe.transport.windows.identity import peer_of
from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.winerror import error

__all__ = ["Pipe", "proactor_loop"]


def proactor_loop() -> asyncio.ProactorEventLoop:
    """Return the running loop if it can serve pipes.

    Raises:
        NotImplementedError: It is another loop.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.ProactorEventLoop):
        return loop
    raise NotImplementedError(
        f"this loop, a {type(loop).__name__}, cannot wait for a Windows pipe: only the Proactor "
        f"loop can. It is asyncio's default; look for a WindowsSelectorEventLoopPolicy or another "
        f"loop in your program, or use npipe.connect and npipe.listen in threads"
    )


class Pipe(windows_utils.PipeHandle):
    """One end of a pipe, as the loop wants it: something like a socket. Owns the handle."""

    def __init__(
        self,
        handle: int,
        address: Address,
        api: Kernel32,
        *,
        server_end: bool,
        message_mode: bool = False,
        proven_sid: str | None = None,
    ) -> None:
        super().__init__(handle)
        self.address = address
        self.message_mode = message_mode
        self.on_close: Callable[[], None] | None = None
        self._api = api
        self._server_end = server_end
        self._proven_sid = proven_sid  # the only user whom the access list admits
        self._peer = PeerIdentity()

    def wait_for_client(self) -> asyncio.Future[Any]:
        """Return the loop's operation that ends when a client has connected.

        Raises BrokenPipeError, or the operation does, if one has come and gone. Cancelling it
        ends the wait.
        """
        operation: asyncio.Future[Any] = _proactor().accept_pipe(self)
        return operation

    async def open(self, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Hand the pipe over to the loop, and its transport to ``protocol``."""
        loop = proactor_loop()
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

    @property
    def peer(self) -> PeerIdentity:
        """The identity of the other end. A client's SID may be None until its first read."""
        if self.handle is not None and self._peer.sid is None:
            with contextlib.suppress(OSError):  # it has gone: what was known before stands
                self._peer = peer_of(self.handle, self._api, server_end=self._server_end)
        peer = self._peer
        if peer.sid is None and self._proven_sid:
            return PeerIdentity(pid=peer.pid, sid=self._proven_sid, session=peer.session)
        return peer

    def has_data(self) -> bool:
        """Tell whether there is something to read, also of a client that has gone."""
        return self._api.PeekNamedPipe(self.fileno())[1] > 0

    def has_gone(self) -> bool:
        """Tell whether the client has closed already and left nothing to read."""
        gone, left = self._api.PeekNamedPipe(self.fileno())
        return bool(gone) and not left

    def disconnect(self) -> None:
        """Free the instance of a client that has gone, for the next one."""
        self._api.DisconnectNamedPipe(self.fileno())

    def shutdown(self, how: int) -> None:
        """Send a message of no bytes, the end of the stream on a message pipe.

        The transport calls this after ``write_eof``, and with SHUT_RDWR before it closes, which a
        pipe does not need.
        """
        if how == socket.SHUT_WR:
            _proactor().send(self, b"").add_done_callback(_ignore)

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


_FALLBACK: Any = constants._SendfileMode.FALLBACK  # type: ignore[attr-defined,unused-ignore]
_LoopTransport: Any = proactor_events._ProactorDuplexPipeTransport


class PipeTransport(_LoopTransport):  # type: ignore[misc]
    """The loop's transport, with half-close on message pipes, exact errors and sendfile.

    What it writes in one call to Windows: at most 1 MiB on a byte pipe, since the kernel copies
    it to memory that is never paged out; at most 65,535 bytes to another computer (Microsoft page
    "WriteFileEx"). On a message pipe each ``write`` is one message, also where several wait to
    be written, and one ``data_received`` gets at most one message; a message of more than 64 KiB
    comes in parts.
    """

    # The system has no sendfile for a pipe, but the loop has one that reads and writes.
    _sendfile_compatible = _FALLBACK
    _sock: Pipe
    _eof_written: bool
    _buffer: bytearray | None

    def __init__(self, loop: Any, pipe: Pipe, *args: Any) -> None:
        self._part = WRITE_SIZE if pipe.address.host is None else LONGEST_REMOTE_WRITE
        self._messages: deque[int] | None = None  # the lengths of those in the buffer
        if pipe.message_mode:
            self._messages = deque()
        super().__init__(loop, pipe, *args)

    def write(self, data: Any) -> None:
        """Write ``data``, in message mode as one message.

        Raises:
            OSError: EMSGSIZE: the message is too long for a pipe of another computer. Nothing
                is sent.
        """
        if self._messages is None:
            super().write(data)
            return
        if self._sock is not None and self._sock.address.host is not None:
            size = memoryview(data).nbytes
            if size > self._part:
                text = f"a message of {size} bytes: another computer takes at most {self._part}"
                raise OSError(errno.EMSGSIZE, text)
        before = len(self._buffer or b"")
        super().write(data)
        if more := len(self._buffer or b"") - before:
            self._messages.append(more)

    def _loop_writing(self, f: Any = None, data: Any = None) -> None:
        """Give the next part to the kernel; the rest stays in the loop's own buffer."""
        if data is None:
            data, self._buffer = self._buffer, None
            if data and self._messages:
                data = self._cut(data, self._messages.popleft())
        if data and self._messages is None and len(data) > self._part:
            data = self._cut(data, self._part)
        super()._loop_writing(f, data or b"")

    def _cut(self, data: Any, size: int) -> bytes:
        rest = data if isinstance(data, bytearray) else bytearray(data)
        with memoryview(rest) as view:
            part = bytes(view[:size])
        del rest[:size]  # a bytearray gives up its front without moving the rest
        self._buffer = rest or None
        return part

    def can_write_eof(self) -> bool:
        return self._sock is not None and self._sock.message_mode

    def write_eof(self) -> None:
        if self._closing or self._eof_written:
            return
        if not self.can_write_eof():
            raise NotImplementedError("a pipe of the byte type cannot be half closed")
        self._eof_written = True
        if self._write_fut is None:  # else the transport calls it once all is written
            self._sock.shutdown(socket.SHUT_WR)

    def _force_close(self, exc: BaseException | None) -> None:
        code = getattr(exc, "winerror", None)
        super()._force_close(error(code) if code else exc)


def _proactor() -> Any:
    return proactor_loop()._proactor  # type: ignore[attr-defined]


def _ignore(operation: asyncio.Future[Any]) -> None:
    """Retrieve the error, if any: the other end has gone, as the reader will notice."""
    operation.cancelled() or operation.exception()

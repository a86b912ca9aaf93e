"""Pipe handles on the Proactor loop: the only module that uses private parts of a loop.

No public method of asyncio makes a transport for a handle that asyncio has not opened, and its own
way to open a pipe sets no security options. The handles therefore come from ``npipe.transport``,
the duplex transport of the loop carries their bytes, and these private parts of asyncio connect
the two:

* ``loop._proactor``, its ``accept_pipe`` and its ``send``;
* ``_ProactorDuplexPipeTransport``, the class of the transports, with its ``_force_close``,
  ``_loop_reading``, ``_loop_writing``, ``_buffer``, ``_eof_written``, ``_write_fut``, ``_sock``,
  ``_closing`` and ``_sendfile_compatible``;
* ``asyncio.windows_utils.PipeHandle``, the class of its pipes.

``tests/aio/test_proactor.py`` checks that each of them exists on every Python version. Connecting
and listening are in ``windows.py``.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"  # mypy then skips the file elsewhere

import asyncio
import contextlib
import errno
import io
import socket
from asyncio import constants, proactor_events, windows_utils
from collections import deque
from collections.abc import Callable
from typing import Any

from npipe.address import Address
from npipe.security import PeerIdentity
from npipe.transport.windows import handles
from npipe.transport.windows.identity import peer_of
from npipe.transport.windows.kernel32 import Kernel32
from npipe.transport.windows.winerror import error
from npipe.transport.windows.writer import LONGEST_REMOTE_WRITE, WRITE_SIZE

__all__ = ["Pipe", "proactor_loop"]


def proactor_loop() -> asyncio.ProactorEventLoop:
    """Return the running loop if it can serve pipes.

    Raises:
        NotImplementedError: The running loop is not a Proactor loop.
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
    """One end of a pipe with the methods of a socket that the loop calls. It owns the handle."""

    def __init__(
        self,
        handle: int,
        address: Address,
        api: Kernel32,
        *,
        server_end: bool,
        message_mode: bool = False,
        mode: str = "rw",
        proven_sid: str | None = None,
    ) -> None:
        super().__init__(handle)
        self.address = address
        self.message_mode = message_mode
        self.mode = mode  # "r" if this end only reads, "w" if it only writes
        self.on_close: Callable[[], None] | None = None
        self._api = api
        self._server_end = server_end
        self._proven_sid = proven_sid  # SID of the only user that the access list admits
        self._peer = PeerIdentity()

    def wait_for_client(self) -> asyncio.Future[Any]:
        """Begin to wait for a client (Microsoft page "ConnectNamedPipe").

        Returns:
            The operation of the loop, which is done when a client has connected. Cancelling it
            ends the wait. It may fail with BrokenPipeError, as below.

        Raises:
            BrokenPipeError: A client has connected and disconnected.
        """
        operation: asyncio.Future[Any] = _proactor().accept_pipe(self)
        return operation

    async def open(self, protocol: asyncio.BaseProtocol) -> asyncio.Transport:
        """Make a transport for the pipe; return it after ``protocol.connection_made`` has run."""
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
        """The identity of the peer. A client's SID may be None until its first read."""
        if self.handle is not None and self._peer.sid is None:
            with contextlib.suppress(OSError):  # the peer has disconnected: keep the known values
                self._peer = peer_of(self.handle, self._api, server_end=self._server_end)
        peer = self._peer
        if peer.sid is None and self._proven_sid:
            return PeerIdentity(pid=peer.pid, sid=self._proven_sid, session=peer.session)
        return peer

    def has_data(self) -> bool:
        """Tell whether unread bytes exist, also from a client that has disconnected."""
        return handles.peek(self.fileno(), self._api)[1] > 0

    def has_gone(self) -> bool:
        """Tell whether the client has closed its end and no unread bytes exist."""
        return handles.has_gone(self.fileno(), self._api)

    def disconnect(self) -> bool:
        """Disconnect a client that has read everything; see ``npipe.Connection.disconnect``."""
        return self._server_end and not (self.has_unread() or self.reset())

    def has_unread(self) -> bool:
        """Tell whether the peer has not read everything that was written here, or none exists."""
        return self.handle is None or self._api.has_unread(self.handle)

    def reset(self) -> int:
        """Disconnect the client, so that the instance can be reused. Return 0 or an error code."""
        return self._api.DisconnectNamedPipe(self.fileno())

    def shutdown(self, how: int) -> None:
        """Send an empty message, which marks the end of the stream on a message pipe.

        The transport calls this method after ``write_eof``, and with SHUT_RDWR before it closes;
        the latter has no effect on a pipe.
        """
        if how == socket.SHUT_WR:
            _proactor().send(self, b"").add_done_callback(_ignore)

    def close(self, **options: Any) -> None:
        super().close(**options)
        on_close, self.on_close = self.on_close, None
        if on_close is not None:
            on_close()


class Information(dict[str, Any]):
    """Extra info of a transport, in which "peer" is computed on each access."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__(peername=pipe.address, sockname=pipe.address)
        self._pipe = pipe

    def get(self, name: str, default: Any = None) -> Any:
        return self._pipe.peer if name == "peer" else super().get(name, default)


_FALLBACK: Any = constants._SendfileMode.FALLBACK  # type: ignore[attr-defined,unused-ignore]
_LoopTransport: Any = proactor_events._ProactorDuplexPipeTransport


class PipeTransport(_LoopTransport):  # type: ignore[misc]
    """Transport of the loop, extended by half-close on message pipes, exact errors and sendfile.

    One call of WriteFile gets at most 1 MiB on a byte pipe, because the kernel copies the data to
    non-paged memory, and at most 65,535 bytes for another computer (Microsoft page "WriteFileEx").
    On a message pipe each ``write`` is one message, also where several are buffered, and one
    ``data_received`` gets at most one message; a message of more than 64 KiB arrives in parts.
    """

    # Windows has no sendfile for a pipe; the fallback of the loop reads and writes.
    _sendfile_compatible = _FALLBACK
    _sock: Pipe
    _eof_written: bool
    _buffer: bytearray | None

    def __init__(self, loop: Any, pipe: Pipe, *args: Any) -> None:
        self._part = WRITE_SIZE if pipe.address.host is None else LONGEST_REMOTE_WRITE
        self._messages: deque[int] | None = None  # lengths of the buffered messages
        if pipe.message_mode:
            self._messages = deque()
        super().__init__(loop, pipe, *args)

    def write(self, data: Any) -> None:
        """Write ``data``; in message mode as one message.

        Raises:
            OSError: The message is too long for a pipe of another computer (EMSGSIZE). No byte
                of it is sent.
            io.UnsupportedOperation: This end of a one-way pipe only reads.
        """
        if self._sock is not None and "w" not in self._sock.mode:
            raise io.UnsupportedOperation("write: this end of a one-way pipe only reads")
        if self._messages is None:
            super().write(data)
            return
        if self._sock is not None and self._sock.address.host is not None:
            size = memoryview(data).nbytes
            if size > self._part:
                text = f"a message of {size} bytes: a remote pipe accepts at most {self._part}"
                raise OSError(errno.EMSGSIZE, text)
        before = len(self._buffer or b"")
        super().write(data)
        if more := len(self._buffer or b"") - before:
            self._messages.append(more)

    def _loop_reading(self, fut: Any = None) -> None:
        if self._sock is None or "r" in self._sock.mode:
            super()._loop_reading(fut)

    def _loop_writing(self, f: Any = None, data: Any = None) -> None:
        """Begin to write the next part; the rest stays in the buffer of the loop's transport."""
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
        del rest[:size]  # a bytearray drops its front without moving the rest
        self._buffer = rest or None
        return part

    def can_write_eof(self) -> bool:
        return self._sock is not None and self._sock.message_mode

    def write_eof(self) -> None:
        if self._closing or self._eof_written:
            return
        if not self.can_write_eof():
            raise NotImplementedError(
                "a pipe of the byte type has no half-close; its server must create it with "
                "message_mode=True"
            )
        self._eof_written = True
        if self._write_fut is None:  # else the transport calls it after the last write
            self._sock.shutdown(socket.SHUT_WR)

    def _force_close(self, exc: BaseException | None) -> None:
        code = getattr(exc, "winerror", None)
        super()._force_close(error(code) if code else exc)


def _proactor() -> Any:
    return proactor_loop()._proactor  # type: ignore[attr-defined]


def _ignore(operation: asyncio.Future[Any]) -> None:
    """Retrieve the error, if any: the peer has disconnected, which the reader reports too."""
    operation.cancelled() or operation.exception()

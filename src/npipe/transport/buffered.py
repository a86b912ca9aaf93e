"""Reading lines and buffered writing on a connection whose deadlines pass.

``io.BufferedReader`` drops the half line that it has read when the read of the rest raises, and
``io.BufferedWriter`` sends everything again after a write that was cut: neither can hear how far a
call got that raised. ``BufferedConnection`` keeps what it has read, and counts what was sent.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NoReturn

from npipe.transport.call_lock import CallLock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from npipe.address import Address
    from npipe.security import PeerIdentity
    from npipe.transport.base import Connection

__all__ = ["BufferedConnection"]

_CHUNK = 65536  # bytes asked for at once


class BufferedConnection(io.BufferedIOBase):
    """A buffer for reading and one for writing, around one connection.

    A call that raises (TimeoutError above all) loses and doubles nothing: bytes that arrived stay
    in the buffer for the next read, and bytes that were not sent stay for the next ``flush``.
    Iterating yields lines; ``io.TextIOWrapper`` takes it. Any thread may call any method: reads
    run one at a time, and so do writes. Collecting it as garbage does not flush.

    ::

        with npipe.connect("chat") as connection:
            lines = npipe.BufferedConnection(connection)
            lines.set_read_deadline(time.monotonic() + 5)
            try:
                line = lines.readline()
            except TimeoutError:
                ...  # the next readline returns the whole line
    """

    def __init__(self, connection: Connection, buffer_size: int = 65536) -> None:
        """Use ``connection``, which is closed along with this object.

        Args:
            connection: The connection. Nothing else should read it or write to it meanwhile.
            buffer_size: Bytes that ``write`` collects before it sends them.

        Raises:
            ValueError: ``buffer_size`` is not greater than 0.
        """
        if buffer_size <= 0:
            raise ValueError(f"buffer_size={buffer_size}: give a number of bytes greater than 0")
        self._connection = connection
        self._buffer_size = buffer_size
        self._reading = CallLock()
        self._writing = CallLock()
        self._received = bytearray()
        self._unsent = bytearray()

    # Reading

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line, its newline included.

        Args:
            size: Bytes to return, at most: set it where the other end is not trusted. A negative
                size, or None, sets no limit.

        Returns:
            The line; without a newline where ``size`` or the end of the stream cut it; ``b""`` at
            the end.

        Raises:
            TimeoutError: The read deadline has passed. What arrived is kept.
            ClosedError: The connection has been closed.
        """
        return self.read_until(b"\n", size)

    def read_until(self, separator: bytes, size: int | None = -1) -> bytes:
        """Return the bytes up to and including ``separator``; else as ``readline``.

        Raises:
            ValueError: ``separator`` is empty.
        """
        if not separator:
            raise ValueError("the separator is empty")
        limit = None if size is None or size < 0 else size
        with self._reading.call():
            searched = 0
            while True:
                end = self._received.find(separator, searched)
                if end >= 0:
                    found = end + len(separator)
                    return self._take(found if limit is None else min(found, limit))
                if limit is not None and len(self._received) >= limit:
                    return self._take(limit)
                searched = max(len(self._received) - len(separator) + 1, 0)
                if not self._fill():
                    return self._take(len(self._received))

    def read(self, size: int | None = -1, /) -> bytes:
        """Return exactly ``size`` bytes, or fewer at the end of the stream.

        Args:
            size: Number of bytes. A negative size, or None, reads until the end.

        Raises:
            TimeoutError: The read deadline has passed. What arrived is kept.
            ClosedError: The connection has been closed.
        """
        limit = None if size is None or size < 0 else size
        with self._reading.call():
            while (limit is None or len(self._received) < limit) and self._fill():
                pass
            return self._take(len(self._received) if limit is None else limit)

    def read1(self, size: int = -1, /) -> bytes:
        """Return what there is, at most ``size`` bytes; read once if there is nothing."""
        with self._reading.call():
            if not self._received and size:
                self._fill()
            return self._take(len(self._received) if size < 0 else size)

    def peek(self, size: int = 0, /) -> bytes:
        """Return what there is without taking it; read once if there is nothing.

        Args:
            size: Not used: as many bytes as there are.
        """
        with self._reading.call():
            if not self._received:
                self._fill()
            return bytes(self._received)

    def wait_readable(self, timeout: float | None = None) -> bool:
        """Do what ``Connection.wait_readable`` does; bytes in the buffer count."""
        with self._reading.call():
            return bool(self._received) or self._connection.wait_readable(timeout)

    def _fill(self) -> bool:
        data = self._connection.read(_CHUNK)
        self._received += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    # Writing

    def write(self, data: ReadableBuffer, /) -> int:
        """Put all of ``data`` into the buffer, which is sent first if it is full.

        Returns:
            The length of ``data`` in bytes.

        Raises:
            TimeoutError: The write deadline passed while the buffer was sent. Nothing of ``data``
                was taken: ``characters_written`` is 0.
            BrokenPipeError: The other end is gone. As with TimeoutError.
            ClosedError: The connection has been closed.
        """
        with self._writing.call():
            if len(self._unsent) >= self._buffer_size or self._connection.closed:
                try:
                    self._send()
                except OSError as error:
                    error.characters_written = 0  # type: ignore[attr-defined]
                    raise
            with memoryview(data) as view:
                self._unsent += view.tobytes()
                return view.nbytes

    def flush(self) -> None:
        """Send what is in the buffer.

        Raises:
            TimeoutError: The write deadline has passed. What was not sent stays in the buffer.
            BrokenPipeError: The other end is gone.
            ClosedError: The connection has been closed.
        """
        with self._writing.call():
            if self._unsent or self._connection.closed:
                self._send()

    def _send(self) -> None:
        try:
            self._connection.write(self._unsent)
        except BaseException as error:
            # Without a count the connection takes no more, so nothing is sent twice.
            del self._unsent[: getattr(error, "characters_written", 0)]
            raise
        self._unsent.clear()

    def close_write(self) -> None:
        """Flush, and end the write side of the connection."""
        self.flush()
        self._connection.close_write()

    def close(self) -> None:
        """Flush by the write deadline, and close the connection also where that fails."""
        if self._connection.closed:
            return
        try:
            self.flush()
        finally:
            self._connection.close()

    def detach(self) -> Connection:
        """Flush, and give the connection back.

        Raises:
            ValueError: The read buffer holds bytes.
        """
        if self._received:
            raise ValueError("bytes in the buffer have not been read yet")
        self.flush()
        return self._connection

    # The connection

    @property
    def raw(self) -> Connection:
        """The connection."""
        return self._connection

    @property
    def closed(self) -> bool:
        return self._connection.closed

    def readable(self) -> bool:
        return self._connection.readable()

    def writable(self) -> bool:
        return self._connection.writable()

    def fileno(self) -> int:
        """Return the descriptor of the connection. A selector does not see the buffer."""
        return self._connection.fileno()

    def set_deadline(self, when: float | None) -> None:
        """Set both deadlines of the connection."""
        self._connection.set_deadline(when)

    def set_read_deadline(self, when: float | None) -> None:
        """Set the read deadline of the connection."""
        self._connection.set_read_deadline(when)

    def set_write_deadline(self, when: float | None) -> None:
        """Set the write deadline of the connection."""
        self._connection.set_write_deadline(when)

    @property
    def local_address(self) -> Address:
        """The address of this end."""
        return self._connection.local_address

    @property
    def remote_address(self) -> Address:
        """The address of the other end."""
        return self._connection.remote_address

    @property
    def peer(self) -> PeerIdentity:
        """The identity of the process at the other end."""
        return self._connection.peer

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._connection!r}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot copy or pickle {type(self).__name__!r} object")

    def __del__(self) -> None:
        """Leave it to the connection to warn and to close: a flush here could wait for ever."""

"""Reading lines and buffered writing on a connection with deadlines.

``io.BufferedReader`` drops the half line that it has read when the read of the rest raises, and
``io.BufferedWriter`` sends everything again after an incomplete write: neither gets the number of
bytes that a call transferred before it raised. ``BufferedConnection`` keeps the bytes that it has
read, and counts the bytes that were sent.
"""

from __future__ import annotations

import io

from npipe.transport.call_lock import CallLock

TYPE_CHECKING = False  # importing typing would take as long as importing npipe
if TYPE_CHECKING:
    from typing import NoReturn

    from _typeshed import ReadableBuffer

    from npipe.address import Address
    from npipe.security import PeerIdentity
    from npipe.transport.base import Connection

__all__ = ["BufferedConnection"]

_CHUNK = 65536  # bytes asked for at once


class BufferedConnection(io.BufferedIOBase):
    """A connection with a read buffer and a write buffer.

    A call that raises, such as with TimeoutError, neither loses nor repeats a byte: bytes that
    arrived stay in the buffer for the next read, and bytes that were not sent stay for the next
    ``flush``. Iterating yields lines, and ``io.TextIOWrapper`` accepts the object. Any thread may
    call any method: reads run one at a time, and so do writes. Garbage collection does not flush.

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
        """Wrap ``connection``; closing this object closes it.

        Args:
            connection: The connection. No other code should read or write it meanwhile.
            buffer_size: Number of bytes that ``write`` collects before it sends them.

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
            size: Maximum number of bytes: set it where the peer is not trusted. A negative
                size, or None, sets no limit.

        Returns:
            The line; without a newline where ``size`` or the end of the stream cut it; ``b""`` at
            the end.

        Raises:
            TimeoutError: The read deadline has passed. The bytes that arrived are kept.
            ClosedError: The connection has been closed.
        """
        return self.read_until(b"\n", size)

    def read_until(self, separator: bytes, size: int | None = -1) -> bytes:
        """Return the bytes up to and including ``separator``.

        Args:
            separator: The bytes that end a record.
            size: Maximum number of bytes. A negative size, or None, sets no limit.

        Returns:
            The bytes; without the separator where ``size`` or the end of the stream cut them;
            ``b""`` at the end.

        Raises:
            ValueError: ``separator`` is empty.
            TimeoutError: The read deadline has passed. The bytes that arrived are kept.
            ClosedError: The connection has been closed.
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

        Returns:
            The bytes; ``b""`` at the end.

        Raises:
            TimeoutError: The read deadline has passed. The bytes that arrived are kept.
            ClosedError: The connection has been closed.
        """
        limit = None if size is None or size < 0 else size
        with self._reading.call():
            while (limit is None or len(self._received) < limit) and self._fill():
                pass
            return self._take(len(self._received) if limit is None else limit)

    def read1(self, size: int = -1, /) -> bytes:
        """Return the buffered bytes, at most ``size``; read once if the buffer is empty.

        Args:
            size: Maximum number of bytes. A negative size sets no limit.

        Returns:
            The bytes; ``b""`` at the end.

        Raises:
            TimeoutError: The read deadline has passed.
            ClosedError: The connection has been closed.
        """
        with self._reading.call():
            if not self._received and size:
                self._fill()
            return self._take(len(self._received) if size < 0 else size)

    def peek(self, size: int = 0, /) -> bytes:
        """Return the buffered bytes and keep them; read once if the buffer is empty.

        Args:
            size: Not used: all buffered bytes are returned.

        Returns:
            The bytes; ``b""`` at the end.

        Raises:
            TimeoutError: The read deadline has passed.
            ClosedError: The connection has been closed.
        """
        with self._reading.call():
            if not self._received:
                self._fill()
            return bytes(self._received)

    def wait_readable(self, timeout: float | None = None) -> bool:
        """Wait until a read would return at once, without reading.

        Args:
            timeout: Seconds to wait; None waits for as long as the read deadline allows.

        Returns:
            True when the buffer or the connection has bytes, or the stream has ended; False when
            ``timeout`` has passed.

        Raises:
            TimeoutError: The read deadline has passed.
            ClosedError: The connection has been closed.
            io.UnsupportedOperation: The connection has no such test, or was opened with
                ``mode="w"``.
        """
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
        """Append all of ``data`` to the buffer; send the buffer first if it is full.

        Args:
            data: The bytes to write.

        Returns:
            The length of ``data`` in bytes.

        Raises:
            TimeoutError: The write deadline passed while the buffer was sent. No byte of ``data``
                was accepted: ``characters_written`` is 0.
            BrokenPipeError: The peer has closed the connection. ``characters_written`` is 0.
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
        """Send the bytes in the buffer.

        Raises:
            TimeoutError: The write deadline has passed. The bytes not sent stay in the buffer.
            BrokenPipeError: The peer has closed the connection.
            ClosedError: The connection has been closed.
        """
        with self._writing.call():
            if self._unsent or self._connection.closed:
                self._send()

    def _send(self) -> None:
        try:
            self._connection.write(self._unsent)
        except BaseException as error:
            # Without the attribute the connection refuses later writes, so no byte is sent twice.
            del self._unsent[: getattr(error, "characters_written", 0)]
            raise
        self._unsent.clear()

    def close_write(self) -> None:
        """Flush the buffer and close the write side of the connection."""
        self.flush()
        self._connection.close_write()

    def close(self) -> None:
        """Flush by the write deadline and close the connection, also if the flush fails."""
        if self._connection.closed:
            return
        try:
            self.flush()
        finally:
            self._connection.close()

    def detach(self) -> Connection:
        """Flush the buffer and return the connection.

        Returns:
            The connection, which stays open.

        Raises:
            ValueError: The read buffer holds bytes.
        """
        if self._received:
            raise ValueError("the read buffer is not empty: read its bytes before detach")
        self.flush()
        return self._connection

    # The connection

    @property
    def raw(self) -> Connection:
        """The connection without the buffers."""
        return self._connection

    @property
    def closed(self) -> bool:
        """Whether the connection has been closed."""
        return self._connection.closed

    def readable(self) -> bool:
        """Tell whether the mode of the connection includes reading.

        Returns:
            True for the modes "r" and "rw".
        """
        return self._connection.readable()

    def writable(self) -> bool:
        """Tell whether the mode of the connection includes writing.

        Returns:
            True for the modes "w" and "rw".
        """
        return self._connection.writable()

    def fileno(self) -> int:
        """Return the descriptor of the connection. A selector does not see the buffer.

        Returns:
            The file descriptor, which the connection still owns.

        Raises:
            io.UnsupportedOperation: The connection has no descriptor.
        """
        return self._connection.fileno()

    def set_deadline(self, when: float | None) -> None:
        """Set both deadlines of the connection.

        Args:
            when: A value of ``time.monotonic()`` in seconds; None means no deadline.
        """
        self._connection.set_deadline(when)

    def set_read_deadline(self, when: float | None) -> None:
        """Set the read deadline of the connection.

        Args:
            when: A value of ``time.monotonic()`` in seconds; None means no deadline.
        """
        self._connection.set_read_deadline(when)

    def set_write_deadline(self, when: float | None) -> None:
        """Set the write deadline of the connection.

        Args:
            when: A value of ``time.monotonic()`` in seconds; None means no deadline.
        """
        self._connection.set_write_deadline(when)

    @property
    def local_address(self) -> Address:
        """The address of this end."""
        return self._connection.local_address

    @property
    def remote_address(self) -> Address:
        """The address of the peer."""
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
        """Do nothing: the connection's finalizer warns and closes; a flush could block forever."""

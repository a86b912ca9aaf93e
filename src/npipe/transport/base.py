"""Interfaces of a connection and a listener, after net.Conn and net.Listener of Go.

The docstrings here are the contract. The backends implement it, and ``npipe.testing`` checks it.
This module makes no system call. These rules hold for every method:

* Any thread may call any method at any time. Reads run one at a time, and so do writes; a read
  and a write never wait for each other.
* A deadline is a value of ``time.monotonic()``, in seconds; None means no deadline. A deadline in
  the past makes the next call fail at once, even if it could have succeeded. Setting a deadline
  wakes the calls in flight, which then use the new value: at once, or within a few hundredths of
  a second where the process has no free file descriptor for the wake-up.
* A call that times out raises TimeoutError and loses no byte: the next read returns the bytes that
  arrived.
* After ``close`` every method raises ClosedError, and so does every call that was in flight. The
  methods that the io module provides (iteration, ``with``, ``readlines``, ``writelines``,
  ``isatty``) raise ValueError then, as those of a closed file do.
* A signal handler may call ``close`` and set deadlines at any time. Where it calls a method that
  its own thread is in the middle of (a write during a write), that call raises RuntimeError.
* No option and no flag of a socket that other programs may share is changed.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterator

from npipe.errors import ClosedError

TYPE_CHECKING = False  # importing typing would take as long as importing npipe
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Generic, NoReturn, Self, TypeVar

    from _typeshed import ReadableBuffer, WriteableBuffer

    from npipe.address import Address
    from npipe.security import PeerIdentity

    Receive = Callable[[int, int], bytes | None]
    Send = Callable[[ReadableBuffer, int], int]
    ConnectionT_co = TypeVar("ConnectionT_co", bound="Connection", covariant=True)
else:
    ConnectionT_co = None

    class Generic:
        """Replaces ``typing.Generic``: ``Listener[Connection]`` is ``Listener``."""

        def __class_getitem__(cls, parameter: object) -> type:
            return cls


__all__ = ["Connection", "Listener"]


class Connection(io.RawIOBase):
    """A stream of bytes to and from one other process.

    It is an ``io.RawIOBase``, so functions that take a raw file accept it: ``shutil.copyfileobj``,
    ``subprocess.run(stdin=connection)``. Use it as a context manager, or close it. For reading
    lines, and for buffering that loses nothing when a deadline passes, see
    ``npipe.BufferedConnection``.
    """

    has_deadlines: ClassVar[bool] = True
    """Whether a deadline ends a call in flight. False for files such as standard streams."""

    counts_partial_writes: ClassVar[bool] = True
    """Whether the error of an incomplete write has ``characters_written``: see ``write``."""

    mode: str = "rw"
    """The directions of this end: "r" (it only reads), "w" (it only writes) or "rw"."""

    @classmethod
    def adopt(cls, handle: int, address: Any) -> Connection:
        """Make a connection from a connected socket or pipe that other code opened.

        Args:
            handle: A file descriptor on POSIX, a handle on Windows. The connection owns it,
                unless this method raises.
            address: The address of the server: text, a path or an Address.

        Returns:
            The connection, which the caller closes.

        Raises:
            ValueError: ``handle`` is not a connected stream socket or pipe, or the address is bad.
            OSError: The system refuses.
        """
        from npipe.address import Address, parse
        from npipe.transport import adopt_connection

        where = address if isinstance(address, Address) else parse(address)
        return adopt_connection(handle, where)

    @abstractmethod
    def read(self, size: int | None = -1, /) -> bytes:
        """Return the bytes that have arrived, at most ``size``; wait until there are any.

        Args:
            size: Maximum number of bytes. A negative size, or None, reads until the end.

        Returns:
            The bytes; ``b""`` when the peer will send no more.

        Raises:
            TimeoutError: The read deadline has passed.
            ClosedError: The connection has been closed.
            io.UnsupportedOperation: The connection was opened with ``mode="w"``.
        """

    def poll_read(self, size: int, seconds: float, /) -> bytes | None:
        """Read at most ``size`` bytes if they arrive within ``seconds``, without sleeping.

        Call it before ``read`` when a reply from another processor core is expected within
        microseconds. It uses processor time while it waits. The errors are those of ``read``.

        Args:
            size: Maximum number of bytes; greater than 0.
            seconds: Maximum time to wait, in seconds.

        Returns:
            The bytes; ``b""`` at the end of the stream; None if nothing arrived, and at once
            where the connection cannot poll.
        """
        return None

    selectable = False
    """True where an event loop can serve the connection by ``read_now`` and ``write_now``.

    On POSIX a selector takes ``fileno()``. On Windows a completion port takes the connection first.
    """

    def read_now(self, size: int, /) -> bytes | None:
        """Return the bytes that have arrived, at most ``size``, without waiting.

        This is for an event loop that serves many connections. It ignores deadlines.

        Args:
            size: Maximum number of bytes; greater than 0.

        Returns:
            The bytes; ``b""`` when the peer will send no more; None while there is nothing
            to read, or another thread is reading.

        Raises:
            ClosedError: The connection has been closed.
            io.UnsupportedOperation: The connection is not ``selectable``, or no completion port
                has taken it.
        """
        raise io.UnsupportedOperation("read_now: this connection is not selectable; use read")

    def write_now(self, data: ReadableBuffer, /) -> int:
        """Write as much of ``data`` as the system accepts without waiting.

        Args:
            data: The bytes to write.

        Returns:
            The number of bytes written; 0 while there is no room, or another thread is writing.

        Raises:
            BrokenPipeError: The peer has closed the connection.
            ClosedError: The connection, or its write side, has been closed.
            io.UnsupportedOperation: The connection is not ``selectable``, or no completion port
                has taken it.
        """
        raise io.UnsupportedOperation("write_now: this connection is not selectable; use write")

    def unlocked(self) -> tuple[Receive, Send]:
        """Return functions that work like ``read_now`` and ``write_now`` but may skip their locks.

        An event loop that owns the connection saves half of the time of a small read and write.
        It must ensure what the locks do: one thread at a time reads, one at a time writes, no
        other method reads or writes meanwhile, and ``close`` is called while neither function
        runs, and neither of them after that.

        Returns:
            ``receive(size, flags)`` and ``send(data, flags)``. ``flags`` are those of ``recv`` and
            ``send`` of a socket; the loop passes ``MSG_DONTWAIT`` and, to ``send``,
            ``MSG_NOSIGNAL``. If a function raises OSError (also where it would have to wait), no
            byte was transferred, and ``read_now`` or ``write_now`` then gives the proper result.
        """
        return self._receive_now, self._send_now

    def _receive_now(self, size: int, _flags: int, /) -> bytes | None:
        return self.read_now(size)

    def _send_now(self, data: ReadableBuffer, _flags: int, /) -> int:
        return self.write_now(data)

    def wait_readable(self, timeout: float | None = None) -> bool:
        """Wait until a read would return at once, without reading.

        Bytes that a timed-out ``read`` kept count, as does the end of the stream. Another thread
        may take the bytes before this one reads them.

        Args:
            timeout: Seconds to wait; None waits for as long as the read deadline allows.

        Returns:
            True when there is something to read; False when ``timeout`` has passed.

        Raises:
            TimeoutError: The read deadline has passed.
            ClosedError: The connection has been closed.
            io.UnsupportedOperation: The connection has no such test, or was opened with
                ``mode="w"``.
        """
        raise io.UnsupportedOperation("this connection cannot tell whether it is readable")

    @abstractmethod
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read bytes into ``buffer``; wait until there are any.

        No view of ``buffer`` is kept after the call, also when it raises. The errors are those
        of ``read``.

        Args:
            buffer: A writable buffer; its length is the maximum number of bytes.

        Returns:
            The number of bytes; 0 when the peer will send no more.
        """

    @abstractmethod
    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data``.

        No view of ``data`` is kept after the call, also when it raises. The error has the
        attribute ``characters_written``, the number of bytes that were sent before it; so does an
        exception that a signal handler raised during the call. Where that number is unknown
        the attribute is not set, and every later write fails with an OSError (EPIPE), because
        another message after half a message would damage the stream.

        Args:
            data: The bytes to write.

        Returns:
            The length of ``data`` in bytes.

        Raises:
            BrokenPipeError: The peer has closed the connection.
            TimeoutError: The write deadline has passed.
            ClosedError: The connection, or its write side, has been closed.
            io.UnsupportedOperation: The connection was opened with ``mode="r"``.
        """

    @abstractmethod
    def close_write(self) -> None:
        """Close the write side; the peer reads ``b""``. The read side stays open.

        Raises:
            io.UnsupportedOperation: The system has no half-close (a Windows pipe of the byte
                type).
        """

    def has_gone(self) -> bool:
        """Tell whether the peer has closed both directions, so that writes to it are lost.

        After a read of ``b""`` this distinguishes a peer that finished writing from a peer that
        closed the connection. It never waits.

        Returns:
            True if the peer or this connection is closed; False if that is unknown.
        """
        return False

    def disconnect(self, timeout: float = 0.0) -> bool:
        """Disconnect a client that has read everything, at a server's end on Windows.

        On Windows an open handle of a client keeps the name of the pipe in use, even after the
        server has closed its end, so that no other server can listen on the name. This call
        releases the name (Microsoft page "DisconnectNamedPipe"). Bytes that the client has not
        read are never discarded. The client reads ``b""``, or gets an error if it distinguishes
        a disconnect from the end of the stream (Node, asyncio). Call ``close`` afterwards.

        Args:
            timeout: Seconds to wait until the client has read everything.

        Returns:
            True if the client was disconnected; False if it may have unread bytes, and on a
            connection whose client keeps no name in use (POSIX, a client's end).
        """
        return False

    @abstractmethod
    def flush(self) -> None:
        """Wait until the peer has read all written bytes, where the system reports it.

        The write deadline applies. On POSIX this returns at once, because the kernel already
        holds the written bytes and the system does not report reads. On Windows it is
        FlushFileBuffers (Microsoft page of that name).
        """

    @abstractmethod
    def close(self) -> None:
        """Close both directions. The peer still receives the bytes written before.

        A second call does nothing.
        """

    def hang_up(self) -> None:
        """Close the connection, and end its stream although a child process has a copy of it.

        After ``close`` alone the peer waits for the end of the stream until each process that was
        forked meanwhile has ended (POSIX). In such a process this is ``close``, because the
        connection belongs to its parent.
        """
        self.close()

    def detach(self) -> int:
        """Return the descriptor or handle to the caller and close this object.

        Calls in flight end with ClosedError before this returns. On POSIX the descriptor is in
        blocking mode; on Windows the handle was opened for overlapped input and output.

        Returns:
            The descriptor (POSIX) or handle (Windows), which the caller closes.

        Raises:
            ClosedError: The connection has been closed.
            ValueError: Bytes that a timed-out ``read`` kept have not been read yet.
            io.UnsupportedOperation: The connection has no descriptor or handle.
        """
        raise io.UnsupportedOperation("detach: this connection has no descriptor")

    @abstractmethod
    def set_read_deadline(self, when: float | None) -> None:
        """Set the time after which reads raise TimeoutError.

        Args:
            when: A value of ``time.monotonic()`` in seconds; None removes the deadline.

        Raises:
            ValueError: ``when`` is NaN, a duration, or a value of ``time.time()``.
        """

    @abstractmethod
    def set_write_deadline(self, when: float | None) -> None:
        """Set the time after which writes raise TimeoutError.

        Args:
            when: A value of ``time.monotonic()`` in seconds; None removes the deadline.

        Raises:
            ValueError: ``when`` is NaN, a duration, or a value of ``time.time()``.
        """

    def set_deadline(self, when: float | None) -> None:
        """Set the deadline of reads and that of writes.

        Args:
            when: A value of ``time.monotonic()`` in seconds; None removes both deadlines.

        Raises:
            ValueError: ``when`` is NaN, a duration, or a value of ``time.time()``.
        """
        self.set_read_deadline(when)
        self.set_write_deadline(when)

    @property
    @abstractmethod
    def local_address(self) -> Address:
        """The address of this end; for a client, the address that it connected to."""

    @property
    @abstractmethod
    def remote_address(self) -> Address:
        """The address of the peer. For its process and user see ``peer``."""

    @property
    @abstractmethod
    def peer(self) -> PeerIdentity:
        """The identity of the process at the other end."""

    def readable(self) -> bool:
        """Tell whether the mode of the connection includes reading.

        Returns:
            True for the modes "r" and "rw".
        """
        return "r" in self.mode

    def writable(self) -> bool:
        """Tell whether the mode of the connection includes writing.

        Returns:
            True for the modes "w" and "rw".
        """
        return "w" in self.mode

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot copy or pickle {type(self).__name__!r} object")


class Listener(Generic[ConnectionT_co]):
    """A server's endpoint that accepts connections on one address.

    Iterating over it yields connections until it is closed.
    """

    @classmethod
    def adopt(cls, handle: int, address: Any) -> Listener[Connection]:
        """Make a listener from a socket that other code bound, as in systemd socket activation.

        Closing the listener does not remove the socket's file, unless ``claim`` was called. While
        the listener is open the socket is in non-blocking mode, also for the other processes that
        share it (man page sd_listen_fds(3)).

        Args:
            handle: The file descriptor of a listening Unix stream socket.
            address: The address of the socket: text, a path or an Address.

        Returns:
            The listener, which owns the descriptor and which the caller closes.

        Raises:
            ValueError: ``handle`` is not such a socket, or the address is bad. The caller still
                owns the descriptor.
            OSError: The system refuses. The caller still owns the descriptor.
            io.UnsupportedOperation: On Windows, where a listener has many handles.
        """
        from npipe.address import Address, parse
        from npipe.transport import adopt_listener

        where = address if isinstance(address, Address) else parse(address)
        return adopt_listener(handle, where)

    @property
    @abstractmethod
    def address(self) -> Address:
        """The address that the listener serves."""

    def share(self) -> Listener[ConnectionT_co]:
        """Make another listener on the same endpoint, for a process made by ``os.fork``.

        Each of the two accepts its own clients, and closing one does not affect the other.

        Returns:
            The second listener, which the caller closes.

        Raises:
            io.UnsupportedOperation: On Windows.
        """
        raise io.UnsupportedOperation("share: only a listener on a Unix socket can be shared")

    def claim(self) -> None:
        """Make ``close`` in this process remove the socket's file.

        This is for a program that listens, forks and continues in the child (a daemon). The
        parent calls ``detach``, or exits by ``os._exit``; the child calls this method.

        Raises:
            ClosedError: The listener has been closed.
            io.UnsupportedOperation: The listener has no file: on Windows, and for an abstract
                socket.
        """
        raise io.UnsupportedOperation("claim: only a listener on a Unix socket has a file")

    def detach(self) -> int:
        """Return the listening socket to the caller and close this object; the file stays.

        Returns:
            The descriptor in blocking mode, which the caller closes.

        Raises:
            ClosedError: The listener has been closed.
            io.UnsupportedOperation: On Windows, where a listener has many handles.
        """
        raise io.UnsupportedOperation("detach: only a listener on a Unix socket has one descriptor")

    @abstractmethod
    def accept(self, timeout: float | None = None) -> ConnectionT_co:
        """Wait for the next client and return the connection to it.

        A client that has already disconnected is not an error; the backend may still return its
        connection. While the process has no free file descriptor, clients wait in the backlog.

        Args:
            timeout: Seconds to wait, at most; None uses the deadline of ``set_deadline`` only. A
                client that already waits is returned also with a timeout of 0.

        Returns:
            The connection, which the caller closes.

        Raises:
            TimeoutError: No client connected in time.
            ClosedError: The listener has been closed.
            ValueError: ``timeout`` is NaN or infinite.
        """

    def set_deadline(self, when: float | None) -> None:
        """Set the time after which ``accept`` raises TimeoutError; wake the calls in flight.

        Args:
            when: A value of ``time.monotonic()`` in seconds; None, which is the initial value,
                means no deadline.

        Raises:
            ValueError: ``when`` is NaN, a duration, or a value of ``time.time()``.
        """
        raise io.UnsupportedOperation("this listener has no deadlines")

    @abstractmethod
    def close(self) -> None:
        """Stop listening and wake every ``accept``. Accepted connections stay open."""

    def __iter__(self) -> Iterator[ConnectionT_co]:
        while True:
            try:
                yield self.accept()
            except ClosedError:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot copy or pickle {type(self).__name__!r} object")

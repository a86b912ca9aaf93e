"""The contract of a connection and a listener: what Go calls net.Conn and net.Listener.

The docstrings here are the rules. The backends keep them, and ``npipe.testing`` checks them. No
system call is made here. These rules hold for every method:

* Any thread may call any method at any time. Reads run one at a time, and so do writes; a read
  and a write never wait for each other.
* A deadline is a value of ``time.monotonic()``, in seconds; None means no deadline. A deadline in
  the past makes the next call fail at once, even if it could have succeeded. Setting a deadline
  wakes the calls in flight, which then go by the new value: at once, or within a few hundredths
  of a second where the process has no file descriptor left to be woken by.
* A call that times out raises TimeoutError and loses no byte: what arrived goes to the next read.
* After ``close`` every method raises ClosedError, and so does every call that was in flight. The
  methods that the io module provides (iteration, ``with``, ``readlines``, ``writelines``,
  ``isatty``) raise ValueError then, as those of a closed file do.
* A signal handler may call ``close`` and set deadlines at any time. Where it calls a method that
  its own thread is in the middle of (a write during a write), that call raises RuntimeError.
* No option and no flag of a socket that other programs may share is changed.
"""

from __future__ import annotations

import io
import time
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar

from npipe.errors import ClosedError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from npipe.address import Address
    from npipe.security import PeerIdentity

__all__ = ["MODES", "Connection", "Listener", "deadline", "duration", "require_mode"]

MODES = ("r", "w", "rw")
_DAY = 86400.0  # seconds
_YEAR = 366 * _DAY


class Connection(io.RawIOBase):
    """A stream of bytes to one other program and from it.

    Being an ``io.RawIOBase`` it goes wherever a raw file goes: ``shutil.copyfileobj``,
    ``subprocess.run(stdin=connection)``. Use it as a context manager, or close it. For reading
    lines, and for buffers that deadlines cannot damage, see ``npipe.BufferedConnection``.
    """

    has_deadlines: ClassVar[bool] = True
    """Whether a deadline ends a call in flight. False for files such as standard streams."""

    counts_partial_writes: ClassVar[bool] = True
    """Whether the error of a write that was cut has ``characters_written``: see ``write``."""

    mode: str = "rw"
    """The directions of this end: "r" (it only reads), "w" (it only writes) or "rw"."""

    @classmethod
    def adopt(cls, handle: int, address: Any) -> Connection:
        """Own a connected socket or pipe that something else opened.

        Args:
            handle: A file descriptor on POSIX, a handle on Windows. It is this connection's from
                now on, unless this raises.
            address: The address of the server: text, a path or an Address.

        Raises:
            ValueError: ``handle`` is no connected stream socket or pipe, or the address is bad.
            OSError: The system refuses.
        """
        from npipe.address import Address, parse
        from npipe.transport import adopt_connection

        where = address if isinstance(address, Address) else parse(address)
        return adopt_connection(handle, where)

    @abstractmethod
    def read(self, size: int | None = -1, /) -> bytes:
        """Return what there is, at most ``size`` bytes; wait while there is nothing.

        Args:
            size: Number of bytes, at most. A negative size, or None, reads until the end.

        Returns:
            The bytes; ``b""`` when the other end will send no more.

        Raises:
            TimeoutError: The read deadline has passed.
            ClosedError: The connection has been closed.
            io.UnsupportedOperation: The connection was opened with ``mode="w"``.
        """

    def poll_read(self, size: int, seconds: float, /) -> bytes | None:
        """Read at most ``size`` bytes if they arrive within ``seconds``, without sleeping.

        For the moment before a ``read`` when the answer is on its way from another core. This
        costs processor time while it waits. It raises what ``read`` raises.

        Returns:
            The bytes; None if nothing came, and at once where a system has no such call.
        """
        return None

    selectable = False
    """True where a selector takes ``fileno()``, and ``read_now`` and ``write_now`` work."""

    def read_now(self, size: int, /) -> bytes | None:
        """Return what there is, at most ``size`` bytes, without waiting.

        For one event loop that serves many connections. Deadlines do not matter here.

        Args:
            size: Number of bytes, at most; greater than 0.

        Returns:
            ``b""`` when the other end will send no more; None while there is nothing to read, or
            another thread is reading.

        Raises:
            ClosedError: The connection has been closed.
            io.UnsupportedOperation: The connection is not ``selectable``.
        """
        raise io.UnsupportedOperation("this connection cannot be read without waiting")

    def write_now(self, data: ReadableBuffer, /) -> int:
        """Write as much of ``data`` as the system takes without waiting.

        Args:
            data: The bytes to write.

        Returns:
            The number of bytes written; 0 while there is no room, or another thread is writing.

        Raises:
            BrokenPipeError: The other end is gone.
            ClosedError: The connection, or its write side, has been closed.
            io.UnsupportedOperation: The connection is not ``selectable``.
        """
        raise io.UnsupportedOperation("this connection cannot be written to without waiting")

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
            io.UnsupportedOperation: The connection cannot tell, or does not read.
        """
        raise io.UnsupportedOperation("this connection cannot tell whether it is readable")

    @abstractmethod
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read into ``buffer``, as ``read`` does; return the number of bytes.

        No view of ``buffer`` is kept after the call, also when it raises.
        """

    @abstractmethod
    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data`` and return its length in bytes.

        No view of ``data`` is kept after the call, also when it raises.

        Raises:
            BrokenPipeError: The other end is gone.
            TimeoutError: The write deadline has passed.
            ClosedError: The connection, or its write side, has been closed.
            io.UnsupportedOperation: The connection was opened with ``mode="r"``.

        The error has ``characters_written``: the number of bytes that were sent before it. So has
        an exception that a signal handler raised during the call. Where that number cannot be
        known the attribute is not set, and every later write fails with an OSError (EPIPE): half
        a message must not be followed by another.
        """

    @abstractmethod
    def close_write(self) -> None:
        """End the write side; the other end reads ``b""``. Reading goes on.

        Raises:
            io.UnsupportedOperation: The system cannot do it (a Windows pipe of the byte type).
        """

    def has_gone(self) -> bool:
        """Return whether the other end has closed both directions: what is written to it is lost.

        After a read of ``b""`` this tells "it has finished writing" from "it is not there any
        more". It never waits. False where it cannot be known; True once this end is closed.
        """
        return False

    @abstractmethod
    def flush(self) -> None:
        """Wait until the other end has read what was written, where the system can tell.

        Goes by the write deadline. On POSIX it returns at once: a written byte is the kernel's.
        """

    @abstractmethod
    def close(self) -> None:
        """End both directions. Bytes already written still reach the other end. Idempotent."""

    def detach(self) -> int:
        """Give the descriptor or handle away; the connection counts as closed afterwards.

        Calls in flight end with ClosedError before this returns. On POSIX the descriptor is as a
        blocking socket is; on Windows the handle was opened for overlapped input and output.

        Returns:
            The descriptor (POSIX) or handle (Windows), which is the caller's to close.

        Raises:
            ClosedError: The connection has been closed.
            ValueError: Bytes that a timed-out ``read`` kept have not been read yet.
            io.UnsupportedOperation: There is nothing to give away.
        """
        raise io.UnsupportedOperation("this connection has no descriptor to give away")

    @abstractmethod
    def set_read_deadline(self, when: float | None) -> None:
        """Set the ``time.monotonic()`` value after which reads raise TimeoutError.

        Raises:
            ValueError: ``when`` is NaN, a duration, or a value of ``time.time()``.
        """

    @abstractmethod
    def set_write_deadline(self, when: float | None) -> None:
        """Set the ``time.monotonic()`` value after which writes raise TimeoutError.

        Raises:
            ValueError: ``when`` is NaN, a duration, or a value of ``time.time()``.
        """

    def set_deadline(self, when: float | None) -> None:
        """Set both deadlines."""
        self.set_read_deadline(when)
        self.set_write_deadline(when)

    @property
    @abstractmethod
    def local_address(self) -> Address:
        """The address of this end; on a client, the address that it connected to."""

    @property
    @abstractmethod
    def remote_address(self) -> Address:
        """The address of the other end. Its process and user: ``peer``."""

    @property
    @abstractmethod
    def peer(self) -> PeerIdentity:
        """The identity of the process at the other end."""

    def readable(self) -> bool:
        return "r" in self.mode

    def writable(self) -> bool:
        return "w" in self.mode

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot copy or pickle {type(self).__name__!r} object")


ConnectionT_co = TypeVar("ConnectionT_co", bound=Connection, covariant=True)


class Listener(Generic[ConnectionT_co]):
    """Accepts connections on one address. Iterating over it accepts until it is closed."""

    @classmethod
    def adopt(cls, handle: int, address: Any) -> Listener[Connection]:
        """Own a listening socket that something else bound, as in systemd's socket activation.

        Closing the listener leaves the socket's file alone, unless ``claim`` was called. While
        the listener is open the socket is non-blocking, for everything that shares it.

        Args:
            handle: The file descriptor of a listening Unix stream socket.
            address: Where it listens: text, a path or an Address.

        Raises:
            ValueError: ``handle`` is no such socket, or the address is bad. It stays the caller's.
            OSError: The system refuses. The descriptor stays the caller's.
            io.UnsupportedOperation: On Windows, where a listener is many handles.
        """
        from npipe.address import Address, parse
        from npipe.transport import adopt_listener

        where = address if isinstance(address, Address) else parse(address)
        return adopt_listener(handle, where)

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it listens."""

    def share(self) -> Listener[ConnectionT_co]:
        """Return another listener on the same endpoint, for a process made by ``os.fork``.

        Each accepts clients of its own, and closing one leaves the other alone.

        Raises:
            io.UnsupportedOperation: On Windows.
        """
        raise io.UnsupportedOperation("a listener cannot be shared here")

    def claim(self) -> None:
        """Make this process the one that removes the socket's file on ``close``.

        For a program that listens, forks and goes on in the child (a daemon). The parent calls
        ``detach``, or leaves by ``os._exit``; the child calls this.

        Raises:
            ClosedError: The listener has been closed.
            io.UnsupportedOperation: There is no file: on Windows, and for an abstract socket.
        """
        raise io.UnsupportedOperation("a listener has no file here")

    def detach(self) -> int:
        """Give the listening socket away; the listener counts as closed, and the file stays.

        Returns:
            The descriptor, blocking, which is the caller's to close.

        Raises:
            ClosedError: The listener has been closed.
            io.UnsupportedOperation: On Windows, where a listener is many handles.
        """
        raise io.UnsupportedOperation("a listener cannot be detached here")

    @abstractmethod
    def accept(self, timeout: float | None = None) -> ConnectionT_co:
        """Wait for the next client and return the connection to it.

        A client that has already gone is no error and is not returned by preference. While the
        process has no file descriptor left, clients wait in the backlog.

        Args:
            timeout: Seconds to wait, at most; None goes by ``set_deadline`` alone. A client that
                is there already is returned also with a timeout of 0.

        Raises:
            TimeoutError: No client came in time.
            ClosedError: The listener has been closed.
            ValueError: ``timeout`` is NaN or infinite.
        """

    def set_deadline(self, when: float | None) -> None:
        """Set the ``time.monotonic()`` value after which ``accept`` raises TimeoutError.

        It wakes the calls in flight. None, the default, means no deadline.

        Raises:
            ValueError: ``when`` is NaN, a duration, or a value of ``time.time()``.
        """
        raise io.UnsupportedOperation("this listener takes no deadline")

    @abstractmethod
    def close(self) -> None:
        """Stop listening; wake every ``accept``. Connections accepted before live on."""

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


def deadline(when: float | None) -> float | None:
    """Return ``when`` if it can be a deadline, an instant on the clock ``time.monotonic()``.

    Raises:
        ValueError: It is NaN; or more than a day past and less than a day after the clock began,
            as a duration is (``set_deadline(5)``); or a value of ``time.time()``.
        TypeError: It is no number.
    """
    if when is None:
        return None
    now = time.monotonic()
    if now <= when <= now + _YEAR:
        return when
    if when != when + 0.0:
        raise ValueError("a deadline is a time.monotonic() value or None, and not NaN")
    if 0 < when < _DAY and when < now - _DAY:
        raise ValueError(
            f"a deadline is a time.monotonic() value, and {when} lies {now - when:.0f} seconds in "
            f"the past: for {when} seconds from now give time.monotonic() + {when}"
        )
    if abs(when - time.time()) < _YEAR < time.time() - now:
        raise ValueError(
            f"a deadline is a time.monotonic() value, and {when} is one of time.time(): "
            f"give time.monotonic() + SECONDS"
        )
    return when


def duration(timeout: float | None) -> float | None:
    """Return ``timeout`` if it can be a number of seconds; a negative one counts as 0.

    Raises:
        ValueError: It is NaN or infinite.
        TypeError: It is no number.
    """
    if timeout is None:
        return None
    if timeout - timeout != 0.0:
        raise ValueError(f"timeout={timeout}: give a number of seconds, or None to wait for ever")
    return max(timeout, 0)


def require_mode(mode: str) -> None:
    """Raise ValueError if ``mode`` is none of ``MODES``."""
    if mode not in MODES:
        raise ValueError(f'mode={mode!r}: give "r", "w" or "rw", as seen from this end')

"""The contract of a connection and a listener: what Go calls net.Conn and net.Listener.

The docstrings here are the rules; ``posix.py`` and ``windows.py`` keep them, and
``npipe.testing`` checks them. No system call is made here.

Rules that hold for every method:

* Any thread may call any method at any time. Reads are served one at a time, and so are writes;
  a read and a write never wait for each other.
* A deadline is a value of ``time.monotonic()``, in seconds; None means never. One that lies in
  the past makes the next call fail at once, even if it could have succeeded. Setting one wakes
  the calls in flight, which then go by the new value: at once, or within a few hundredths of a
  second where a call has only just begun.
* A call that times out raises TimeoutError and loses no byte: what arrived goes to the next read.
* After ``close`` every method raises ClosedError, and so does every call that was in flight.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Generic, Self, TypeVar

from npipe.errors import ClosedError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from npipe.address import Address
    from npipe.security import PeerIdentity

__all__ = ["Connection", "Listener"]


class Connection(io.RawIOBase):
    """A two-way stream of bytes to one other program.

    Being an ``io.RawIOBase`` it goes wherever a raw file goes: ``io.BufferedReader(conn)``,
    ``shutil.copyfileobj``. Use it as a context manager, or close it.
    """

    has_deadlines: ClassVar[bool] = True
    """Whether a deadline ends a call in flight. False for files such as standard streams."""

    counts_partial_writes: ClassVar[bool] = True
    """Whether the error of a write that was cut has ``characters_written``: see ``write``."""

    @classmethod
    def adopt(cls, handle: int, address: Address) -> Connection:
        """Own a connected socket or pipe that something else opened; ``address`` is the server's.

        ``handle`` is a descriptor on POSIX and a handle on Windows. It is this connection's from
        now on, unless this raises: ValueError if it is not what it should be, OSError.
        """
        from npipe.transport import adopt_connection

        return adopt_connection(handle, address)

    @abstractmethod
    def read(self, size: int | None = -1, /) -> bytes:
        """Return what there is, at most ``size`` bytes; wait while there is nothing.

        ``b""`` means that the other end will send no more. A negative size, or None, reads until
        then. Raises TimeoutError, ClosedError, ConnectionResetError.
        """

    def poll_read(self, size: int, seconds: float, /) -> bytes | None:
        """Read at most ``size`` bytes if they come within so many ``seconds``; None if not.

        For a moment before a ``read``, where the answer is on its way from another core: this
        does not sleep and costs processor time all the while. Raises what ``read`` raises. None
        at once where a system has no such thing.
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

    @abstractmethod
    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Like ``read``, into ``buffer``; return the number of bytes (0: no more will come)."""

    @abstractmethod
    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of ``data`` and return its length in bytes.

        Raises BrokenPipeError when the other end is gone, TimeoutError, ClosedError. The error
        has ``characters_written``: how many bytes had gone when it happened. Where the system
        cannot tell, that attribute is not set (to read it is an AttributeError) and the write
        side is poisoned: every later write fails and says why.
        """

    @abstractmethod
    def close_write(self) -> None:
        """Say that nothing more will be written; the other end reads ``b""``. Reading goes on.

        Raises io.UnsupportedOperation where the system has no such thing (a Windows pipe of the
        byte type).
        """

    def has_gone(self) -> bool:
        """Say whether the other end is closed in both directions: what is written to it is lost.

        After a read of ``b""`` this tells "it has finished writing" from "it is not there any
        more". Never waits. False where it cannot be known.
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

    @abstractmethod
    def set_read_deadline(self, when: float | None) -> None:
        """Set the ``time.monotonic()`` value after which reads raise TimeoutError."""

    @abstractmethod
    def set_write_deadline(self, when: float | None) -> None:
        """Set the ``time.monotonic()`` value after which writes raise TimeoutError."""

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
        """The address of the other end. Who that is: ``peer``."""

    @property
    @abstractmethod
    def peer(self) -> PeerIdentity:
        """Who is at the other end."""

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True


def deadline(when: float | None) -> float | None:
    """Return ``when`` if it can be a deadline; raise ValueError or TypeError if not."""
    if when is None or when == when + 0.0:
        return when
    raise ValueError("a deadline is a time.monotonic() value or None, and not NaN")


ConnectionT_co = TypeVar("ConnectionT_co", bound=Connection, covariant=True)


class Listener(Generic[ConnectionT_co]):
    """Accepts connections on one address. Iterating over it accepts until it is closed."""

    @classmethod
    def adopt(cls, handle: int, address: Address) -> Listener[Connection]:
        """Own a listening socket that something else bound, as in systemd's socket activation.

        Closing the listener leaves the socket's file alone: it is not ours. Raises ValueError if
        the descriptor ``handle`` is no listening stream socket, OSError; then it stays yours. On
        Windows, where a listener is many handles, io.UnsupportedOperation.
        """
        from npipe.transport import adopt_listener

        return adopt_listener(handle, address)

    @property
    @abstractmethod
    def address(self) -> Address:
        """Where it listens."""

    def share(self) -> Listener[ConnectionT_co]:
        """Return another listener on the same endpoint, for a process made by ``os.fork``: each
        accepts clients of its own. Raises io.UnsupportedOperation on Windows.
        """
        raise io.UnsupportedOperation("a listener cannot be shared here")

    @abstractmethod
    def accept(self, timeout: float | None = None) -> ConnectionT_co:
        """Wait for the next client, at most ``timeout`` seconds.

        A client that has already gone again is no error and is not returned by preference; a
        lack of file descriptors is waited out. Raises TimeoutError; ClosedError once closed.
        """

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

"""Connection over two files: the standard streams of this program or of a child process.

``npipe.rpc`` uses it for calls over standard input and output, as language servers and tools of the
Model Context Protocol do.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport import base, checks
from npipe.transport.call_lock import CallLock

if TYPE_CHECKING:
    import subprocess

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["EXIT_SECONDS", "StdioConnection", "spawn", "standard_streams"]

EXIT_SECONDS = 1.0  # for a child process to read the rest, and then to exit
_LARGEST = 1 << 20  # bytes for each system call; Windows and macOS refuse more than INT_MAX


class StdioConnection(base.Connection):
    """Connection over standard input and output of this program or of a child process.

    Deadlines have no effect on such files. ``close`` ends the child process. It closes the
    standard input of the process, and kills a process that has not ended after one second. If a
    write is in progress, ``close`` waits one second for it and then kills the process. A file that
    a call is using is closed when that call returns.
    """

    has_deadlines = False

    def __init__(
        self,
        reader: BinaryIO | Any,
        writer: BinaryIO | Any,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._process = process
        self._closed = False
        self._reading, self._writing = CallLock(), CallLock()
        self._sending = False  # a write has begun and its result is not known (yet)

    def read(self, size: int | None = -1, /) -> bytes:
        with self._call(self._reading, self._close_reader):
            try:
                if size is None or size < 0:
                    return bytes(self._reader.read())
                return self._receive(min(size, _LARGEST))
            except (OSError, ValueError):
                if self._closed:
                    raise ClosedError from None
                raise

    def _receive(self, size: int) -> bytes:
        descriptor = self._reader.fileno()
        while True:
            try:
                return os.read(descriptor, size)
            except BlockingIOError:
                _await(descriptor, write=False)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        with checks.flat_view(buffer) as view:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)

    def write(self, data: ReadableBuffer, /) -> int:
        with self._call(self._writing, self._close_writer), checks.flat_view(data) as view:
            return self._write_all(view)

    def _write_all(self, view: memoryview) -> int:
        """Write all of ``view`` and return its length; count an incomplete write.

        ``_sending`` is true from before a system call until its result has been added to ``sent``.
        """
        if self._sending:
            text = "an earlier write was interrupted, and how much of it was sent is unknown"
            raise BrokenPipeError(errno.EPIPE, f"{os.strerror(errno.EPIPE)}: {text}")
        if self._writer.closed:
            raise ClosedError("connection's write side")
        sent = 0
        try:
            self._writer.flush()  # what the program has printed itself
            descriptor = self._writer.fileno()
            while sent < len(view):
                self._sending = True
                try:
                    # No slice is bound to a name: a traceback would hold a reference to it.
                    sent += os.write(descriptor, view[sent : sent + _LARGEST])
                except BlockingIOError:
                    _await(descriptor, write=True)
                self._sending = False
        except OSError as error:
            if error.errno is not None:  # raised by the system: this write wrote no byte
                self._sending = False
            self._count(error, sent)
            raise
        except BaseException as error:
            self._count(error, sent)
            raise
        return sent

    def _count(self, error: BaseException, sent: int) -> None:
        if not self._sending:
            error.characters_written = sent  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def _call(self, lock: CallLock, close: Callable[[], object]) -> Iterator[None]:
        """Hold the lock of a direction for one call; close its file if ``close`` was called."""
        try:
            with lock.call():
                if self._closed:
                    raise ClosedError
                yield
        finally:
            if self._closed:
                close()

    def has_gone(self) -> bool:
        """Tell whether the child process has ended."""
        return self._process is not None and self._process.poll() is not None

    def close_write(self) -> None:
        with self._call(self._writing, self._close_writer):
            self._writer.close()

    def flush(self) -> None:
        with self._call(self._writing, self._close_writer):
            self._writer.flush()

    def close(self) -> None:
        """Close both files and end the child process; block for three seconds at most.

        A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        process = self._process
        # A write holds the lock while the peer does not read: limit the wait for it.
        if not self._close_writer(EXIT_SECONDS) and process is not None:
            process.kill()  # which ends the write
        if process is None:
            return  # leave standard input open: no call can wake a thread that reads it
        _end(process)
        self._close_reader(EXIT_SECONDS)

    def _close_writer(self, seconds: float = 0) -> bool:
        """Close the file for writing, unless a call uses it for longer than ``seconds``."""
        with self._writing.try_call(seconds) as unused:
            if unused:
                with contextlib.suppress(OSError):
                    self._writer.close()
            return unused

    def _close_reader(self, seconds: float = 0) -> None:
        if self._process is not None:
            with self._reading.try_call(seconds) as unused:
                if unused:
                    self._reader.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def set_read_deadline(self, when: float | None) -> None:
        pass

    def set_write_deadline(self, when: float | None) -> None:
        pass

    @property
    def local_address(self) -> Address:
        return Address("unix", "stdio:")

    @property
    def remote_address(self) -> Address:
        return Address("unix", "stdio:")

    @property
    def peer(self) -> PeerIdentity:
        return PeerIdentity(pid=self._process.pid if self._process else None)


def _await(descriptor: int, *, write: bool) -> None:
    """Wait for a file that another program has set to non-blocking mode (man page open(2))."""
    if sys.platform != "win32":  # which has no such mode
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT if write else select.POLLIN)
        poll.poll()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait one second for a process whose input has ended; then kill it."""
    from subprocess import TimeoutExpired

    try:
        process.wait(EXIT_SECONDS)
    except TimeoutExpired:
        process.kill()
        process.wait()


def standard_streams() -> StdioConnection:
    """Return a connection over the standard input and output of this program."""
    return StdioConnection(sys.stdin.buffer, sys.stdout.buffer)


def spawn(command: Sequence[str]) -> StdioConnection:
    """Start a program and connect to its standard input and output.

    Args:
        command: The program and its arguments.

    Returns:
        The connection; closing it ends the program.

    Raises:
        OSError: The program cannot be started.
    """
    import subprocess  # slow to import and rarely needed

    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    return StdioConnection(process.stdout, process.stdin, process)

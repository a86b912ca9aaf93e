"""Connection over two files: the standard streams of this program or of a child process.

``npipe.rpc`` uses it for calls over standard input and output, as language servers and tools of the
Model Context Protocol do.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.security import PeerIdentity
from npipe.transport import base

if TYPE_CHECKING:
    import subprocess

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["EXIT_SECONDS", "StdioConnection", "spawn", "standard_streams"]

EXIT_SECONDS = 1.0  # for a child process to read the rest, and then to exit


class StdioConnection(base.Connection):
    """Connection over standard input and output of this program or of a child process.

    Deadlines have no effect on such files. ``close`` ends the child process: it closes the input of
    the process and kills it after one second; it kills it at once after a write that has waited for
    it for one second.
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
        self._writing = threading.Lock()

    def read(self, size: int | None = -1, /) -> bytes:
        if self._closed:
            raise ClosedError
        try:
            if size is None or size < 0:
                return bytes(self._reader.read())
            return os.read(self._reader.fileno(), size)
        except (OSError, ValueError):
            if self._closed:
                raise ClosedError from None
            raise

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def write(self, data: ReadableBuffer, /) -> int:
        with self._writing:
            if self._closed:
                raise ClosedError
            self._writer.write(data)
            self._writer.flush()
        return memoryview(data).nbytes

    def has_gone(self) -> bool:
        """Tell whether the child process has ended."""
        return self._process is not None and self._process.poll() is not None

    def close_write(self) -> None:
        self._writer.close()

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        """Close both files and end the child process; block for two seconds at most.

        A second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        process = self._process
        # A write holds this lock while the other end does not read: limit the wait for it.
        if self._writing.acquire(timeout=EXIT_SECONDS):
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writing.release()
        elif process is not None:
            process.kill()  # which ends the write
            with self._writing, contextlib.suppress(OSError):
                self._writer.close()
        if process is None:
            return  # leave standard input open: no call can wake a thread that reads it
        _end(process)
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

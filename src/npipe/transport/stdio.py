"""A connection over two files: the standard streams of this program, or of a program it started.

``npipe.rpc`` serves and calls over standard input and output with it, as language servers and
tools of the Model Context Protocol do.
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

EXIT_SECONDS = 1.0  # that a program has to read what is left, and then to exit


class StdioConnection(base.Connection):
    """A connection over two files: standard input and output, of this program or of another's.

    Such files know no deadlines: they are taken and do nothing. Closing ends the program that was
    started for it: first by the end of its input, then, after a second, by force; at once by
    force where a write waits for it to read.
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
        """Whether the program has ended."""
        return self._process is not None and self._process.poll() is not None

    def close_write(self) -> None:
        self._writer.close()

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        """Close both files, and end the program. Idempotent; blocks for two seconds at most."""
        if self._closed:
            return
        self._closed = True
        process = self._process
        # A write that does not end, since nobody reads, would have to be waited for.
        if self._writing.acquire(timeout=EXIT_SECONDS):
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writing.release()
        elif process is not None:
            process.kill()  # that ends it
            with self._writing, contextlib.suppress(OSError):
                self._writer.close()
        if process is None:
            return  # our own standard input ends with us: nothing can wake who reads it
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
    """Give a program whose input has ended a second to end, too."""
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
    """Start a program, and connect to its standard input and output.

    Raises:
        OSError: The program cannot be started.
    """
    import subprocess  # slow to import, and seldom needed

    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    return StdioConnection(process.stdout, process.stdin, process)

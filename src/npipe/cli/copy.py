"""Copying bytes from one stream or connection to another."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Callable
from typing import Final

from npipe.errors import ClosedError
from npipe.transport.base import Connection

__all__ = ["CHUNK", "copy", "copy_streams"]

CHUNK: Final = 65536  # bytes in one read: the buffer of a pipe on both systems


def copy(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Copy until ``read`` returns nothing."""
    while data := read(CHUNK):
        write(data)


def copy_streams(connection: Connection, *, until_eof: bool = False) -> None:
    """Copy standard input to ``connection``, and ``connection`` to standard output, to its end.

    Args:
        connection: The connection.
        until_eof: Whether the end of standard input closes the connection, not only one direction.
            The command then never outlives the program that started it.

    Raises:
        OSError: The connection is lost.
    """
    # A daemon thread, because nothing wakes a read of a terminal when the peer has closed.
    threading.Thread(target=_send, args=(connection, until_eof), daemon=True).start()
    with contextlib.suppress(ClosedError):  # closed at the end of standard input
        copy(connection.read, _print)


def _send(connection: Connection, until_eof: bool) -> None:
    try:
        copy(lambda size: os.read(sys.stdin.fileno(), size), connection.write)
        if until_eof:
            connection.flush()
            connection.close()
        else:
            connection.close_write()
    except io.UnsupportedOperation:  # a Windows pipe of bytes has no half-close
        pass
    except OSError:  # the peer has disconnected; the reading thread sees that too
        pass


def _print(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()

"""Bytes from one connection to another, both ways. What ``relay`` and ``cat`` are made of."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Final

from npipe.transport.base import Connection

__all__ = ["CHUNK", "copy", "exchange", "finish"]

CHUNK: Final = 65536  # bytes in one read: the buffer of a pipe on both systems


def copy(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Copy until ``read`` returns nothing more."""
    while data := read(CHUNK):
        write(data)


def finish(connection: Connection) -> None:
    """Say that nothing more will be written, as well as this kind of connection can.

    A Windows pipe of the byte type has no half-close: there the whole connection is closed, once
    the other end has read what was written.
    """
    try:
        connection.close_write()
    except io.UnsupportedOperation:
        connection.flush()
        connection.close()


def exchange(one: Connection, other: Connection) -> None:
    """Copy both ways until both have ended; close both. A lost connection ends it quietly."""

    def forward(source: Connection, sink: Connection) -> None:
        try:
            copy(source.read, sink.write)
            finish(sink)
        except OSError:  # one of them is gone: so is the exchange
            one.close()
            other.close()

    back = threading.Thread(target=forward, args=(other, one), daemon=True)
    back.start()
    forward(one, other)
    back.join()
    one.close()
    other.close()

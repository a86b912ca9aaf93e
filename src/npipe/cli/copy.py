"""Bytes from one file or connection to another, until there are no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["CHUNK", "copy"]

CHUNK: Final = 65536  # bytes in one read: the buffer of a pipe on both systems


def copy(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Copy until ``read`` returns nothing more."""
    while data := read(CHUNK):
        write(data)

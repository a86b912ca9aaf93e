"""Descriptor that ends a poll() of another thread: an eventfd on Linux, a pipe elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys

assert sys.platform != "win32"  # mypy then skips the rest there

__all__ = ["Waker"]


class Waker:
    """Descriptor that poll() reports as readable from ``wake`` until ``drain``."""

    __slots__ = ("_writer", "reader")

    def __init__(self, *, eventfd: bool = sys.platform == "linux") -> None:
        if sys.platform == "linux" and eventfd:  # one descriptor instead of two
            self.reader: int = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._writer = self.reader
        else:
            self.reader, self._writer = os.pipe()
            os.set_blocking(self.reader, False)
            os.set_blocking(self._writer, False)

    def wake(self) -> None:
        # Full, so it is readable already; or a signal handler has closed it in the middle of this.
        with contextlib.suppress(OSError):
            os.write(self._writer, b"\1\0\0\0\0\0\0\0")  # eventfd takes 8 bytes, a pipe any

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, 4096)

    def close(self) -> None:
        os.close(self.reader)
        if self._writer != self.reader:
            os.close(self._writer)

"""Standard output and standard error of a command, whose failures are not those of a pipe.

A full disk, a closed descriptor and a character that the encoding lacks are not errors of the
connection. ``prepare`` replaces the standard streams once, before a command runs:

* A write that fails raises ``OutputFailure``, which is not an OSError, so that no handler for
  errors of a connection catches it.
* A character that the encoding of standard output lacks is written as a JSON escape, so the output
  is the same JSON.
* A closed standard descriptor is opened on the null device. Otherwise the next pipe would get its
  number, and output would go to the server.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import IO, Any, Final

import click

__all__ = ["OutputFailure", "prepare"]

ESCAPES: Final = "npipe.json"  # the name of the codec error handler


class OutputFailure(click.ClickException):
    """Standard output could not be written. Exit status 1; one line, or none for a broken pipe.

    Args:
        error: The exception of the write.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror or error}")
        self.is_quiet: bool = error.errno in (errno.EPIPE, errno.EINVAL)  # EINVAL on Windows

    def show(self, file: IO[Any] | None = None) -> None:
        if not self.is_quiet:
            click.echo(f"npipe: {self.message}", file=file or sys.stderr)


def prepare() -> None:
    """Replace the standard streams of this process. Call it once, before any output."""
    codecs.register_error(ESCAPES, _escape)
    closed = [stream is None for stream in (sys.stdin, sys.stdout, sys.stderr)]
    _fill_closed_descriptors()
    if closed[0]:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  # it ends with the process
    sys.stdout = _ClosedOutput() if closed[1] else _over(sys.stdout, _Output, ESCAPES)
    if closed[2]:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    else:
        sys.stderr = _over(sys.stderr, _Errors, "backslashreplace")


def _fill_closed_descriptors() -> None:
    """Open the null device until every standard descriptor is open."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


def _over(stream: Any, kind: type[io.FileIO], errors: str) -> Any:
    """Return a text stream like ``stream`` whose bytes go through ``kind``.

    A Windows console, and a stream that the interpreter did not make, are not replaced.
    """
    buffer = getattr(stream, "buffer", None)  # under PYTHONUNBUFFERED it is the raw file
    if not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Output(io.FileIO):
    """Standard output: a write that fails raises ``OutputFailure``, and the rest is discarded."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            _drop_the_rest(self)
            raise OutputFailure(error) from error


class _Errors(io.FileIO):
    """Standard error: a message that cannot be written is discarded."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            _drop_the_rest(self)
            return len(data)


def _drop_the_rest(stream: io.FileIO) -> None:
    """Point the descriptor at the null device, or the interpreter would fail again at its end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


class _ClosedOutput(io.TextIOBase):
    """Standard output that was closed before the command began."""

    @property
    def buffer(self) -> Any:
        """The binary stream of this stream; it is closed too."""
        return self

    def write(self, _text: Any, /) -> int:
        raise OutputFailure(OSError(errno.EBADF, "it is closed"))


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Write a character that the encoding lacks as a JSON escape (RFC 8259, section 7)."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = (units[at : at + 2].hex() for at in range(0, len(units), 2))
    return "".join(f"\\u{pair}" for pair in pairs), error.end

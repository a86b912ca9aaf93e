"""Functions of all commands: reporting failures and printing values.

The exit status is 0 for success, 1 for a failure, 2 for wrong usage. A failure is one line on
standard error, without a traceback; only an unexpected error has one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

import click
import msgspec

import npipe
from npipe.errors import ConnectionLost, ProtocolError, RPCError

__all__ = [
    "DEFAULT_ADDRESS",
    "Failure",
    "as_object",
    "dump",
    "explain",
    "failures",
    "one_line",
    "version",
]

DEFAULT_ADDRESS: Final = "npipe"  # a bare name: a pipe on Windows, in the runtime dir elsewhere


class Failure(click.ClickException):
    """The command has failed. Exit status 1, and one line."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"npipe: {one_line(self.message)}", file=file or sys.stderr)


class LoadError(Exception):
    """An object named on the command line cannot be served. The message is one line."""


def version() -> str:
    """Return npipe's version."""
    return npipe.__version__


def one_line(text: str) -> str:
    """Return ``text`` as one line without control characters: it may come from a peer."""
    return "".join(char if char.isprintable() else " " for char in text.strip())


def dump(value: Any, *, pretty: bool | None = None) -> str:
    """Return ``value`` as JSON: indented for a terminal, otherwise one line."""
    pretty = sys.stdout.isatty() if pretty is None else pretty
    return msgspec.json.format(msgspec.json.encode(value), indent=2 if pretty else -1).decode()


@contextmanager
def failures(address: str, *, listening: bool = False) -> Iterator[None]:
    """Turn an error of a connection to ``address``, or of a listener there, into a Failure.

    An invalid address is wrong usage.
    """
    try:
        yield
    except OSError as error:
        told = _reason_to_listen(error, address) if listening else explain(error, address)
        raise Failure(told) from error
    except (ProtocolError, RPCError) as error:
        raise Failure(explain(error, address)) from error
    except ModuleNotFoundError as error:  # an extra is missing: npipe's message names it
        if "pip install" not in str(error):
            raise
        raise Failure(str(error)) from error
    except ValueError as error:  # an invalid address
        raise click.UsageError(str(error), click.get_current_context(silent=True)) from error


def explain(error: Exception, address: str) -> str:
    """Return the message for an error at ``address``, with the remedy."""
    if isinstance(error, RPCError):
        data = "" if error.data is None else f", data {dump(error.data, pretty=False)}"
        return f"{error.message} (code {error.code}{data})"
    if isinstance(error, FileNotFoundError):
        if sys.platform != "win32" and "/" not in address and os.path.exists(address):
            return f"no server at {address}; for the file of that name here write ./{address}"
        return f"no server at {address}; start one with: npipe serve {address}"
    if isinstance(error, ConnectionRefusedError) and "has ended" in _reason(error):
        return f"the server of {address} has ended; start it with: npipe serve {address}"
    reason = _reason(error) if isinstance(error, OSError) else str(error)
    if isinstance(error, ConnectionLost) and error.maybe_executed:
        reason += " (the call may have been executed)"
    return f"{address}: {reason}"


def as_object(error: RPCError) -> dict[str, Any]:
    """Return the error object of a reply."""
    told = {"code": error.code, "message": error.message}
    return told if error.data is None else {**told, "data": error.data}


def _reason_to_listen(error: OSError, address: str) -> str:
    if isinstance(error, FileNotFoundError):
        return f"cannot listen at {address}: its directory does not exist"
    return f"cannot listen at {address}: {_reason(error)}"


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__

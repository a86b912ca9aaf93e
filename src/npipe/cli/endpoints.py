"""The endpoints of ``relay`` and ``cat``: pipes, TCP ports of this computer, programs.

===================  ===========================================================================
an address           a pipe or a Unix socket, as everywhere
``tcp:PORT``         a port of the loopback interface
``exec:COMMAND``     a program's standard streams, started for each connection
===================  ===========================================================================
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator

import npipe
import npipe.address
from npipe.cli import tcp
from npipe.transport.base import Connection, Listener
from npipe.transport.stdio import StdioConnection

__all__ = ["check", "dial", "listen"]

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between two attempts to reach a port


def check(endpoint: str) -> None:
    """Raise ValueError if ``endpoint`` is not one that ``dial`` accepts."""
    kind, rest = _split(endpoint)
    if kind == "tcp":
        tcp.parse(rest)
    elif kind == "exec":
        _command(rest)
    else:
        npipe.address.parse(endpoint)


def dial(
    endpoint: str,
    *,
    timeout: float | None = None,
    wait: bool = False,
    remote: npipe.Smb | None = None,
    verify_server: str | None = "auto",
) -> Connection:
    """Connect to an endpoint, or start its program.

    Args:
        endpoint: The endpoint.
        timeout: Seconds, at most; None means no limit.
        wait: Whether to wait for a server that does not listen yet.
        remote: The log-on for a remote pipe.
        verify_server: As for ``npipe.connect``; for an address only.

    Raises:
        ValueError: ``endpoint`` is invalid.
        OSError: The server cannot be reached, or the program not started.
    """
    kind, rest = _split(endpoint)
    if kind == "exec":
        pipe = subprocess.PIPE
        process = subprocess.Popen(_command(rest), stdin=pipe, stdout=pipe)
        return StdioConnection(process.stdout, process.stdin, process)
    if kind == "tcp":
        return _dial_tcp(rest, timeout, wait)
    return npipe.connect(
        endpoint, connect_timeout=timeout, wait=wait, remote=remote, verify_server=verify_server
    )


def listen(endpoint: str, *, access: str = "owner") -> Listener[Connection]:
    """Listen at an endpoint: an address, or ``tcp:PORT``.

    Args:
        endpoint: The endpoint.
        access: The users that may connect, as for ``npipe.listen``. It has no effect on a port.

    Raises:
        ValueError: It is not possible to listen at ``endpoint``.
        OSError: The endpoint is in use.
    """
    kind, rest = _split(endpoint)
    if kind == "exec":
        raise ValueError("exec:COMMAND can only be the TARGET, not the ADDRESS")
    if kind == "tcp":
        return tcp.TcpListener(rest)
    return npipe.listen(endpoint, access=access)


def _split(endpoint: str) -> tuple[str, str]:
    kind, colon, rest = endpoint.partition(":")
    return (kind, rest) if colon and kind in ("tcp", "exec") else ("", endpoint)


def _command(text: str) -> str | list[str]:
    """Return the command for Popen. On Windows it is a string, which programs split themselves."""
    words = text.strip() if sys.platform == "win32" else shlex.split(text)
    if not words:
        raise ValueError("exec: needs a command, as in exec:'ssh host npipe cat name'")
    return words


def _dial_tcp(text: str, timeout: float | None, wait: bool) -> Connection:
    end = None if timeout is None else time.monotonic() + timeout
    for pause in _pauses():
        left = None if end is None else max(end - time.monotonic(), 0.001)
        try:
            return tcp.connect(text, left)
        except ConnectionRefusedError:
            if not wait or (left is not None and left <= pause):
                raise
        time.sleep(pause)
    raise AssertionError


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)

"""Windows named pipes, for threads: ``connect``, ``listen``, ``exists``, ``list_pipes``.

Beside it: ``windows_connection.py`` and ``windows_listener.py`` (the two objects),
``overlapped.py`` (one operation and its end), ``windows_handles.py`` (handles with the right
options), ``kernel32.py`` (bindings), ``winerror.py`` (what an error code becomes). Each function
takes the bindings as ``api``, for tests; everybody else leaves it out.
"""

from __future__ import annotations

import errno
import time

from npipe.address import Address
from npipe.transport.kernel32 import Kernel32, load
from npipe.transport.windows_connection import WindowsConnection
from npipe.transport.windows_handles import (
    Impersonation,
    PipeMaker,
    Verify,
    carries_messages,
    exists,
    list_pipes,
    may_retry,
    open_client,
    pauses,
    verify,
)
from npipe.transport.windows_listener import WindowsListener
from npipe.transport.winerror import ERROR_PIPE_BUSY, error

__all__ = ["connect", "exists", "list_pipes", "listen"]


def connect(
    address: Address,
    *,
    timeout: float | None = None,
    wait: bool = False,
    verify_server: Verify = None,
    impersonation: Impersonation = "identification",
    api: Kernel32 | None = None,
) -> WindowsConnection:
    """Connect to the server of a pipe, within ``timeout`` seconds.

    A busy pipe is waited for; with ``wait`` so is a server that is not there yet.
    """
    api = load() if api is None else api
    deadline = None if timeout is None else time.monotonic() + timeout
    for pause in pauses():
        code, handle = open_client(address, impersonation, api)
        if not code:
            break
        if not may_retry(code, wait):
            raise error(code, address.path)
        left = pause if deadline is None else deadline - time.monotonic()
        if left <= 0:
            why = "the server stayed busy" if code == ERROR_PIPE_BUSY else "no server came"
            raise TimeoutError(errno.ETIMEDOUT, f"{why} within {timeout} s", address.path)
        time.sleep(min(pause, left))
    try:
        verify(handle, address, verify_server, api)
        message_mode = carries_messages(handle, api)
        return WindowsConnection(api, handle, address, server_end=False, message_mode=message_mode)
    except BaseException:
        api.CloseHandle(handle)
        raise


def listen(
    address: Address,
    *,
    access: str | int = "owner",
    backlog: int | None = None,
    message_mode: bool = False,
    reject_remote: bool = True,
    buffer_size: int = 65536,
    api: Kernel32 | None = None,
) -> WindowsListener:
    """Claim the name of a pipe and serve it."""
    maker = PipeMaker(
        address,
        access=access,
        message_mode=message_mode,
        reject_remote=reject_remote,
        buffer_size=buffer_size,
        api=api,
    )
    return WindowsListener(maker, backlog=backlog)

"""Windows named pipes, for threads: ``connect``, ``listen``, ``exists``, ``list_pipes``.

Beside it: ``windows_connection.py`` and ``windows_listener.py`` (the two objects),
``overlapped.py`` (one operation and its end), ``windows_handles.py`` (handles with the right
options), ``kernel32.py`` (bindings), ``winerror.py`` (what an error code becomes). Each function
takes the bindings as ``api``, for tests; everybody else leaves it out.
"""

from __future__ import annotations

import errno
import threading
import time

from npipe.address import Address
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.handles import (
    Impersonation,
    PipeMaker,
    Verify,
    exists,
    list_pipes,
    may_retry,
    open_client,
    pauses,
    prepare_client,
    require_impersonation,
    require_verify,
    verify,
)
from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.overlapped import cut_thread, milliseconds
from npipe.transport.windows.winerror import ERROR_OPERATION_ABORTED, ERROR_PIPE_BUSY, error

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
    """Connect; see ``npipe.connect``."""
    api = load() if api is None else api
    require_impersonation(impersonation)
    require_verify(verify_server)
    due = None if timeout is None else time.monotonic() + timeout
    for pause in pauses():
        if address.host is None:
            code, handle = open_client(address, impersonation, api)
        else:
            code, handle = _open_remote(address, impersonation, api, due)
        if not code:
            break
        if not may_retry(code, wait):
            raise error(code, address.path)
        left = pause if due is None else due - time.monotonic()
        if left <= 0:
            raise _timed_out(address, code, timeout)
        time.sleep(min(pause, left))
    try:
        verify(handle, address, verify_server, api)
        message_mode = prepare_client(handle, api)
        return WindowsConnection(api, handle, address, server_end=False, message_mode=message_mode)
    except BaseException:
        api.CloseHandle(handle)
        raise


def _open_remote(
    address: Address, impersonation: Impersonation, api: Kernel32, due: float | None
) -> tuple[int, int]:
    """Try once, in a thread: to reach another computer, or to give it up, can take a minute."""
    result = (ERROR_OPERATION_ABORTED, 0)

    def aside() -> None:
        nonlocal result
        result = open_client(address, impersonation, api)

    thread = threading.Thread(target=aside, name="npipe-connect", daemon=True)
    thread.start()
    try:
        while thread.is_alive() and (due is None or time.monotonic() < due):
            thread.join(milliseconds(due) / 1000)
    except BaseException:
        cut_thread(thread, api)
        if not result[0]:
            api.CloseHandle(result[1])
        raise
    cut_thread(thread, api)
    return result  # it may have succeeded at the last moment


def _timed_out(address: Address, code: int, timeout: float | None) -> TimeoutError:
    why = "no server came"
    if code == ERROR_PIPE_BUSY:
        why = "the server stayed busy"
    elif code == ERROR_OPERATION_ABORTED:
        why = "the computer did not answer"
    return TimeoutError(errno.ETIMEDOUT, f"{why} within {timeout} s", address.path)


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
    """Serve; see ``npipe.listen``. ``backlog`` is the number of instances that wait for clients."""
    maker = PipeMaker(
        address,
        access=access,
        message_mode=message_mode,
        reject_remote=reject_remote,
        buffer_size=buffer_size,
        api=api,
    )
    return WindowsListener(maker, backlog=backlog)

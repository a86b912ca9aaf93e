"""The Windows backend for threads: ``connect``, ``listen``, ``exists``, ``list_pipes``.

The other modules: ``connection.py`` and ``listener.py`` (the two classes), ``reader.py`` and
``writer.py`` (the directions of a connection), ``overlapped.py`` (overlapped operations),
``handles.py`` and ``maker.py`` (handles and their options), ``kernel32`` (bindings),
``winerror.py`` (exceptions for error codes). Each function takes the bindings as ``api``, so that
a test can replace them; other callers omit it.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Final

from npipe.address import Address
from npipe.transport.checks import require_mode
from npipe.transport.connecting import Attempts
from npipe.transport.windows import handles
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.handles import Impersonation, Mode, list_pipes, open_client
from npipe.transport.windows.identity import Verify, require_verify, verify
from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.maker import PipeMaker
from npipe.transport.windows.thread_call import ThreadCall
from npipe.transport.windows.winerror import ERROR_OPERATION_ABORTED, ERROR_PIPE_BUSY, error

__all__ = ["connect", "exists", "is_refused", "list_pipes", "listen", "reason", "remote_open"]

# Seconds after which ERROR_PIPE_BUSY for a remote pipe is raised if there is no timeout. Microsoft
# does not document the error for a pipe that refuses remote clients, and it may be this one.
BUSY_REMOTE_LIMIT: Final = 1.0
_EXISTS_LIMIT: Final = 10.0  # seconds to ask another computer whether it serves a pipe


def connect(
    address: Address,
    *,
    timeout: float | None = None,
    wait: bool = False,
    verify_server: Verify = None,
    impersonation: Impersonation = "identification",
    mode: Mode = "rw",
    cancel: threading.Event | None = None,
    api: Kernel32 | None = None,
) -> WindowsConnection:
    """Connect to a Windows pipe; see ``npipe.connect``."""
    api = load() if api is None else api
    handles.require_impersonation(impersonation)
    require_verify(verify_server)
    require_mode(mode)
    attempts = Attempts(address, timeout, cancel)
    start = time.monotonic()
    while True:
        if address.host is None:
            code, handle = open_client(address, impersonation, api, mode)
        else:
            opening = remote_open(address, impersonation, api, mode)
            code, handle = _run(opening, attempts.deadline, cancel, api)
        if not code:
            break
        if not handles.may_retry(code, wait) or is_refused(address, code, attempts.deadline, start):
            raise error(code, address.path)
        attempts.sleep(reason(address, code))
    try:
        verify(handle, address, verify_server, api)
        message_mode = handles.prepare_client(handle, api)
        return WindowsConnection(
            api, handle, address, server_end=False, message_mode=message_mode, mode=mode
        )
    except BaseException:
        api.CloseHandle(handle)
        raise


def is_refused(address: Address, code: int, due: float | None, start: float) -> bool:
    """Tell whether to stop retrying a pipe of another computer that stays busy.

    Args:
        address: Address of the pipe.
        code: Windows error code of the last attempt.
        due: Deadline, a value of ``time.monotonic()`` in seconds; None for no deadline.
        start: Time of the first attempt, on the same clock.
    """
    if address.host is None or code != ERROR_PIPE_BUSY or due is not None:
        return False
    return time.monotonic() >= start + BUSY_REMOTE_LIMIT


def remote_open(
    address: Address,
    impersonation: Impersonation,
    api: Kernel32,
    mode: Mode = "rw",
    done: Callable[[], object] = lambda: None,
) -> ThreadCall:
    """Prepare a call in a thread that opens a pipe of another computer.

    The call can take a minute, and has no overlapped form (Microsoft page "CreateFileW").

    Args:
        address: Address of the pipe.
        impersonation: The level that is granted to the server.
        api: The bindings.
        mode: "r", "w" or "rw".
        done: Called in the thread of the call when it has ended.

    Returns:
        The call, not yet started. Its result is (Windows error code, handle).
    """

    def close(result: tuple[int, int]) -> None:
        if not result[0]:
            api.CloseHandle(result[1])

    return ThreadCall(
        lambda: open_client(address, impersonation, api, mode),
        "npipe-connect",
        api,
        done=done,
        unwanted=close,
    )


def _run(
    opening: ThreadCall, due: float | None, cancel: threading.Event | None, api: Kernel32
) -> tuple[int, int]:
    """Run the call until ``due`` at most; return (Windows error code, handle)."""
    opening.start()
    try:
        opening.wait(due, cancel)
        return opening.finish(patience=0)  # it may have succeeded at the last moment
    except BaseException:
        code, handle = opening.finish(patience=0)
        if not code:
            api.CloseHandle(handle)
        raise


def reason(address: Address, code: int) -> str:
    """Return a text that explains the error code of a failed attempt."""
    if code == ERROR_PIPE_BUSY and address.host is not None:
        return "every instance of the pipe stayed busy, or the server refuses remote clients,"
    if code == ERROR_PIPE_BUSY:
        return "the server stayed busy"
    if code == ERROR_OPERATION_ABORTED:
        return "the computer did not answer"
    return "no server appeared"


def exists(address: Address, *, api: Kernel32 | None = None) -> bool:
    """Tell whether a server listens on a pipe; see ``npipe.exists``.

    Raises:
        TimeoutError: Another computer did not reply within ten seconds.
        OSError: The query failed.
    """
    api = load() if api is None else api
    if address.host is None:
        return handles.exists(address, api=api)
    answer: list[bool] = []

    def ask() -> tuple[int, int]:
        answer.append(handles.exists(address, api=api))
        return 0, 0

    asking = ThreadCall(ask, "npipe-exists", api)
    asking.start()
    asking.wait(time.monotonic() + _EXISTS_LIMIT)
    asking.finish(patience=0)
    if answer:
        return answer[0]
    if asking.failure:
        raise asking.failure
    text = f"the computer did not answer within {_EXISTS_LIMIT:g} s"
    raise TimeoutError(errno.ETIMEDOUT, text, address.path)


def listen(
    address: Address,
    *,
    access: str | int = "owner",
    backlog: int | None = None,
    message_mode: bool = False,
    reject_remote: bool = True,
    buffer_size: int = 65536,
    mode: Mode = "rw",
    api: Kernel32 | None = None,
) -> WindowsListener:
    """Listen on a Windows pipe; see ``npipe.listen``.

    ``backlog`` is the number of pipe instances that wait for clients.
    """
    maker = PipeMaker(
        address,
        access=access,
        message_mode=message_mode,
        reject_remote=reject_remote,
        buffer_size=buffer_size,
        mode=mode,
        api=api,
    )
    return WindowsListener(maker, backlog=backlog)

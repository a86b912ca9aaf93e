"""Windows named pipes, for threads: ``connect``, ``listen``, ``exists``, ``list_pipes``.

Beside it: ``connection.py`` and ``listener.py`` (the two objects), ``overlapped.py`` (one
operation and its end), ``handles.py`` (handles with the right options), ``kernel32.py``
(bindings), ``winerror.py`` (exceptions for error codes). Each function takes the bindings as
``api``, for tests; other callers leave it out.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import Final

from npipe.address import Address
from npipe.transport.base import require_mode
from npipe.transport.connecting import Attempts
from npipe.transport.windows import handles
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.handles import (
    Impersonation,
    Mode,
    PipeMaker,
    list_pipes,
    open_client,
)
from npipe.transport.windows.identity import Verify, require_verify, verify
from npipe.transport.windows.kernel32 import Kernel32, load
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.overlapped import ThreadCall
from npipe.transport.windows.winerror import ERROR_OPERATION_ABORTED, ERROR_PIPE_BUSY, error

__all__ = ["connect", "exists", "is_refused", "list_pipes", "listen", "reason", "remote_open"]

# Seconds after which a busy pipe of another computer is reported where there is no timeout: what
# a server answers whose pipe refuses remote clients is not documented, and "busy" is possible.
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
    """Connect; see ``npipe.connect``."""
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
    """Tell whether to give up a pipe of another computer that stays busy."""
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
    """Return the opening of another computer's pipe, not yet started: it can take a minute.

    Args:
        address: The pipe's.
        impersonation: The level that is granted to the server.
        api: The bindings.
        mode: "r", "w" or "rw".
        done: Called in the thread of the call when it has ended.
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
    """Try once, at most until ``due``; return (Windows error code, handle)."""
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
    """Return why an attempt that ended with this error code failed."""
    if code == ERROR_PIPE_BUSY and address.host is not None:
        return "the server was busy all the time (one that refuses remote clients may look so)"
    if code == ERROR_PIPE_BUSY:
        return "the server stayed busy"
    if code == ERROR_OPERATION_ABORTED:
        return "the computer did not answer"
    return "no server came"


def exists(address: Address, *, api: Kernel32 | None = None) -> bool:
    """Tell whether a server listens; see ``npipe.exists``.

    Raises:
        TimeoutError: Another computer did not answer within ten seconds.
        OSError: Windows does not tell.
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
    """Serve; see ``npipe.listen``. ``backlog`` is the number of instances that wait for clients."""
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

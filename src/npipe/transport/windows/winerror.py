"""Windows error codes and the exception that each becomes. The one such table in npipe."""

from __future__ import annotations

import errno
from typing import Final

from npipe.transport.windows.kernel32 import WAIT_TIMEOUT, format_error

ERROR_FILE_NOT_FOUND: Final = 2
ERROR_PATH_NOT_FOUND: Final = 3
ERROR_ACCESS_DENIED: Final = 5
ERROR_INVALID_HANDLE: Final = 6
ERROR_NETNAME_DELETED: Final = 64
ERROR_INVALID_PARAMETER: Final = 87
ERROR_BROKEN_PIPE: Final = 109
ERROR_SEM_TIMEOUT: Final = 121
ERROR_INVALID_NAME: Final = 123
ERROR_BAD_PATHNAME: Final = 161
ERROR_ALREADY_EXISTS: Final = 183
ERROR_BAD_PIPE: Final = 230
ERROR_PIPE_BUSY: Final = 231
ERROR_NO_DATA: Final = 232
ERROR_PIPE_NOT_CONNECTED: Final = 233
ERROR_MORE_DATA: Final = 234
ERROR_PIPE_CONNECTED: Final = 535
ERROR_PIPE_LISTENING: Final = 536
ERROR_OPERATION_ABORTED: Final = 995
ERROR_IO_INCOMPLETE: Final = 996
ERROR_IO_PENDING: Final = 997
ERROR_NOT_FOUND: Final = 1168  # CancelIoEx: nothing is pending
ERROR_CANT_OPEN_ANONYMOUS: Final = 1347
ERROR_CANNOT_IMPERSONATE: Final = 1368

# The system is full: too many open files, no memory, no quota, no resources, no commit charge.
SHORTAGE: Final = frozenset({4, 8, 1450, 1455, 1816})

# Exact builtins for codes that CPython would call EINVAL, or for which a pipe has a clearer word.
_ERRORS: Final[dict[int, tuple[type[OSError], int, str]]] = {
    ERROR_FILE_NOT_FOUND: (FileNotFoundError, errno.ENOENT, "no server listens on this pipe"),
    # Wine says 3 where Windows says 2 (a remote name) or 123 and 161 (a bad name).
    ERROR_PATH_NOT_FOUND: (FileNotFoundError, errno.ENOENT, "there is no such pipe or computer"),
    ERROR_ACCESS_DENIED: (PermissionError, errno.EACCES, "access to this pipe is denied"),
    ERROR_INVALID_HANDLE: (OSError, errno.EBADF, "this is not a handle of a pipe"),
    ERROR_NETNAME_DELETED: (ConnectionResetError, errno.ECONNRESET, "the network link was lost"),
    ERROR_BROKEN_PIPE: (BrokenPipeError, errno.EPIPE, "the other end has closed the pipe"),
    ERROR_SEM_TIMEOUT: (TimeoutError, errno.ETIMEDOUT, "every instance of this pipe stayed busy"),
    ERROR_ALREADY_EXISTS: (OSError, errno.EADDRINUSE, "this pipe is served already"),
    ERROR_BAD_PIPE: (OSError, errno.EINVAL, "the pipe is in a state that does not allow this"),
    ERROR_PIPE_BUSY: (OSError, errno.EBUSY, "every instance of this pipe is busy"),
    ERROR_NO_DATA: (BrokenPipeError, errno.EPIPE, "the other end has closed the pipe"),
    ERROR_PIPE_NOT_CONNECTED: (BrokenPipeError, errno.EPIPE, "the server has disconnected"),
    ERROR_MORE_DATA: (OSError, errno.EMSGSIZE, "the message is longer than the buffer"),
    WAIT_TIMEOUT: (TimeoutError, errno.ETIMEDOUT, "timed out"),
    ERROR_PIPE_CONNECTED: (OSError, errno.EISCONN, "a client is connected already"),
    ERROR_PIPE_LISTENING: (OSError, errno.ENOTCONN, "no client is connected yet"),
    ERROR_OPERATION_ABORTED: (OSError, errno.ECANCELED, "the operation was cancelled"),
    ERROR_IO_INCOMPLETE: (BlockingIOError, errno.EAGAIN, "the operation has not ended yet"),
    ERROR_IO_PENDING: (BlockingIOError, errno.EINPROGRESS, "the operation is under way"),
}


def error(code: int, name: str | None = None) -> Exception:
    """Return the exception for a Windows error code; ``name`` is the pipe that it is about.

    An OSError with ``winerror`` set, whatever its class; ValueError where the name is at fault.
    Codes outside the table are CPython's to map.
    """
    if code in (ERROR_INVALID_NAME, ERROR_BAD_PATHNAME):
        return ValueError(f"bad address {name!r}: Windows takes no such name for a pipe")
    if code in _ERRORS:
        kind, number, text = _ERRORS[code]
        exc = kind(number, text, name) if name else kind(number, text)
        exc.winerror = code  # type: ignore[attr-defined,unused-ignore]
        return exc
    exc = OSError(errno.EIO, f"{format_error(code)} (Windows error {code})", name, code)
    exc.winerror = code  # type: ignore[attr-defined,unused-ignore]  # elsewhere it is not taken
    return exc

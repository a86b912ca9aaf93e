"""Windows error codes and the exceptions that npipe raises for them.

Source of the codes: Microsoft page "System Error Codes".
"""

from __future__ import annotations

import errno
from typing import Final

from npipe.transport.windows.kernel32.constants import WAIT_TIMEOUT
from npipe.transport.windows.kernel32.functions import format_error

ERROR_FILE_NOT_FOUND: Final = 2
ERROR_PATH_NOT_FOUND: Final = 3
ERROR_ACCESS_DENIED: Final = 5
ERROR_INVALID_HANDLE: Final = 6
ERROR_BAD_NETPATH: Final = 53
ERROR_UNEXP_NET_ERR: Final = 59
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
ERROR_VC_DISCONNECTED: Final = 240
ERROR_NETWORK_UNREACHABLE: Final = 1231
ERROR_CONNECTION_ABORTED: Final = 1236
ERROR_OPERATION_ABORTED: Final = 995
ERROR_IO_INCOMPLETE: Final = 996
ERROR_IO_PENDING: Final = 997
ERROR_NOT_FOUND: Final = 1168  # CancelIoEx: nothing is pending
ERROR_CANT_OPEN_ANONYMOUS: Final = 1347
ERROR_CANNOT_IMPERSONATE: Final = 1368

# Error codes of a read or write on a pipe of another computer after a network failure.
_NETWORK_LOST: Final = frozenset(
    {
        ERROR_BAD_NETPATH,
        ERROR_UNEXP_NET_ERR,
        ERROR_NETNAME_DELETED,
        ERROR_SEM_TIMEOUT,
        ERROR_VC_DISCONNECTED,
        ERROR_NETWORK_UNREACHABLE,
        ERROR_CONNECTION_ABORTED,
    }
)

# Shortage of resources: too many open files, no memory, no quota, no resources, no commit charge.
SHORTAGE: Final = frozenset({4, 8, 1450, 1455, 1816})

# Builtin exceptions for codes that CPython maps to EINVAL, or that have a clearer text for a pipe.
_ERRORS: Final[dict[int, tuple[type[OSError], int, str]]] = {
    ERROR_FILE_NOT_FOUND: (FileNotFoundError, errno.ENOENT, "no server listens on this pipe"),
    # Wine reports 3 where Windows reports 2 (a remote name) or 123 and 161 (a bad name).
    ERROR_PATH_NOT_FOUND: (FileNotFoundError, errno.ENOENT, "the pipe or computer does not exist"),
    ERROR_ACCESS_DENIED: (PermissionError, errno.EACCES, "access to this pipe is denied"),
    ERROR_INVALID_HANDLE: (OSError, errno.EBADF, "this is not a handle of a pipe"),
    ERROR_NETNAME_DELETED: (ConnectionResetError, errno.ECONNRESET, "the network link was lost"),
    ERROR_BROKEN_PIPE: (BrokenPipeError, errno.EPIPE, "the peer has closed the pipe"),
    ERROR_SEM_TIMEOUT: (TimeoutError, errno.ETIMEDOUT, "every instance of this pipe stayed busy"),
    ERROR_ALREADY_EXISTS: (OSError, errno.EADDRINUSE, "this pipe is served already"),
    ERROR_BAD_PIPE: (OSError, errno.EINVAL, "the pipe is in a state that does not allow this"),
    ERROR_PIPE_BUSY: (OSError, errno.EBUSY, "every instance of this pipe is busy"),
    ERROR_NO_DATA: (BrokenPipeError, errno.EPIPE, "the peer has closed the pipe"),
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
    """Return the exception for the error code of a call that opens, creates or queries a pipe.

    Args:
        code: A Windows error code. CPython maps the codes outside the table.
        name: The path of the pipe, for the message.

    Returns:
        An OSError of the matching class with ``winerror`` set; a ValueError for a bad name.
    """
    if code in (ERROR_INVALID_NAME, ERROR_BAD_PATHNAME):
        return ValueError(f"bad address {name!r}: Windows does not accept this name for a pipe")
    if code in _ERRORS:
        kind, number, text = _ERRORS[code]
        return _coded(kind(number, text, name) if name else kind(number, text), code)
    text = f"{format_error(code)} (Windows error {code})"
    return _coded(OSError(errno.EIO, text, name, code), code)


def transfer_error(code: int) -> Exception:
    """Return the exception for the error code of a read or a write.

    ERROR_SEM_TIMEOUT then means a lost network link, not an expired deadline. As a TimeoutError it
    would look as if the peer had sent nothing.

    Args:
        code: A Windows error code.

    Returns:
        A ConnectionResetError after a network failure, otherwise the exception of ``error``.
    """
    if code in _NETWORK_LOST:
        return _coded(ConnectionResetError(errno.ECONNRESET, "the network link was lost"), code)
    return error(code)


def _coded(exc: OSError, code: int) -> OSError:
    exc.winerror = code  # type: ignore[attr-defined,unused-ignore]  # an attribute on Windows only
    return exc

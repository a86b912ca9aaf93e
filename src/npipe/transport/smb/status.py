"""Converts an NTSTATUS of the server to an exception or the end of the stream.

The codes are those of MS-ERREF, section 2.3. Those that Samba sends were observed with Samba
4.17 and 4.22; those that only Windows sends are marked.
"""

from __future__ import annotations

import errno
from typing import Final

__all__ = [
    "BUSY",
    "OVERFLOW",
    "PENDING",
    "SUCCESS",
    "BusyError",
    "is_end",
    "open_error",
    "stream_error",
]

SUCCESS: Final = 0
PENDING: Final = 0x00000103
OVERFLOW: Final = 0x80000005  # a message was longer than the read: it has the first part

# Every instance of the pipe has a client: PIPE_NOT_AVAILABLE, INSTANCE_NOT_AVAILABLE, PIPE_BUSY.
# Windows only: Samba has no instances.
BUSY: Final = frozenset({0xC00000AC, 0xC00000AB, 0xC00000AE})

# The pipe's server has closed the pipe: END_OF_FILE, PIPE_DISCONNECTED, PIPE_CLOSING,
# PIPE_BROKEN. Samba alone: CONNECTION_DISCONNECTED, CONNECTION_RESET.
_END: Final = frozenset({0xC0000011, 0xC00000B0, 0xC00000B1, 0xC000014B, 0xC000020C, 0xC000020D})

_OPEN: Final[dict[int, tuple[int, str]]] = {
    0xC0000034: (errno.ENOENT, "no such pipe"),  # OBJECT_NAME_NOT_FOUND
    0xC000000F: (errno.ENOENT, "no such pipe"),  # NO_SUCH_FILE
    0xC000003A: (errno.ENOENT, "no such pipe"),  # OBJECT_PATH_NOT_FOUND
    0xC00000CC: (errno.ENOENT, "the server shares no pipes"),  # BAD_NETWORK_NAME
    0xC0000033: (errno.EINVAL, "the server does not accept this name"),  # OBJECT_NAME_INVALID
    0xC0000022: (errno.EACCES, "access denied"),  # ACCESS_DENIED
    0xC000006A: (errno.EACCES, "wrong user name or password"),  # WRONG_PASSWORD
    0xC000006D: (errno.EACCES, "wrong user name or password"),  # LOGON_FAILURE
    0xC000006E: (errno.EACCES, "the account may not log on"),  # ACCOUNT_RESTRICTION
    0xC000006F: (errno.EACCES, "the account may not log on at this time"),  # INVALID_LOGON_HOURS
    0xC0000070: (
        errno.EACCES,
        "the account may not log on from this computer",
    ),  # INVALID_WORKSTATION
    0xC0000071: (errno.EACCES, "the password has expired"),  # PASSWORD_EXPIRED
    0xC0000072: (errno.EACCES, "the account is disabled"),  # ACCOUNT_DISABLED
    0xC000015B: (errno.EACCES, "the account may not log on over a network"),  # LOGON_TYPE
    0xC0000193: (errno.EACCES, "the account has expired"),  # ACCOUNT_EXPIRED
    0xC0000224: (errno.EACCES, "the password must be changed first"),  # PASSWORD_MUST_CHANGE
    0xC0000234: (errno.EACCES, "the account is locked"),  # ACCOUNT_LOCKED_OUT
    # A server behind Samba that closed the socket, or did not reply as smbd expects.
    0xC000000D: (errno.ECONNREFUSED, "the pipe's server refused"),  # INVALID_PARAMETER
    0xC000020C: (errno.ECONNREFUSED, "the pipe's server refused"),  # CONNECTION_DISCONNECTED
    0xC000020D: (errno.ECONNREFUSED, "the pipe's server refused"),  # CONNECTION_RESET
    0xC0000236: (errno.ECONNREFUSED, "the pipe's server refused"),  # CONNECTION_REFUSED
}


class BusyError(OSError):
    """Every instance of the pipe has a client (errno EBUSY). A later attempt may succeed."""


def is_end(status: int) -> bool:
    """Tell whether ``status`` means that the pipe's server has closed the pipe."""
    return status in _END


def open_error(status: int, path: str) -> OSError:
    """Return the error for a log-on or an open that failed with ``status``.

    Its class is that of its ``errno``: FileNotFoundError, PermissionError,
    ConnectionRefusedError. Its attribute ``ntstatus`` is the code.
    """
    code, text = _OPEN.get(status, (errno.EIO, f"the server answered with NTSTATUS {status:08X}"))
    error = OSError(code, text, path)
    error.ntstatus = status  # type: ignore[attr-defined]
    return error


def stream_error(status: int) -> OSError:
    """Return the error for a read or a write that failed with ``status``."""
    if status in _END:
        return BrokenPipeError(errno.EPIPE, "Broken pipe: the peer has closed the connection")
    error = ConnectionAbortedError(
        errno.ECONNABORTED, f"the server answered with NTSTATUS {status:08X}"
    )
    error.ntstatus = status  # type: ignore[attr-defined]
    return error

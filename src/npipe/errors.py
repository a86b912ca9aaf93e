"""The exceptions of npipe, beyond Python's own.

Where a builtin exception is exact, the builtin is raised:

=====================================================  ============================
Situation                                              Exception
=====================================================  ============================
There is no such pipe or socket                        FileNotFoundError
A socket file exists and no process serves it          ConnectionRefusedError
The client may not connect                             PermissionError
The server does not run as the expected user           PermissionError
The name is served already                             OSError (EADDRINUSE)
A deadline passed                                      TimeoutError
A write, and the peer has closed the connection        BrokenPipeError
The connection was lost                                ConnectionResetError
This kind of connection cannot do that                 io.UnsupportedOperation
An address that is none                                ValueError
=====================================================  ============================

A read after the peer has closed is no error: ``read`` returns ``b""``. This module imports nothing
of npipe.
"""

from __future__ import annotations

import errno
import os
from typing import Any, ClassVar

__all__ = [
    "ClosedError",
    "ConnectionLost",
    "InternalError",
    "InvalidParams",
    "InvalidRequest",
    "MethodNotFound",
    "ParseError",
    "ProtocolError",
    "RPCError",
    "Truncated",
]


class ClosedError(OSError):
    """You closed it, before the call or during it (errno EBADF).

    Not a ConnectionError: a loop that reconnects when the other end is lost must not reconnect
    what its own program closed.
    """

    def __init__(self, what: str = "connection") -> None:
        super().__init__(errno.EBADF, f"{os.strerror(errno.EBADF)}: this {what} has been closed")


class ConnectionLost(ConnectionError):
    """The connection ended before the answer to a call arrived.

    ``maybe_executed`` is False only when not one byte of the call was written: then it is safe to
    send the call again.
    """

    def __init__(self, message: str, *, maybe_executed: bool) -> None:
        super().__init__(message)
        self.maybe_executed = maybe_executed


class ProtocolError(ValueError):
    """The other end broke the protocol: not JSON-RPC, too big, too deep."""


class Truncated(ProtocolError, EOFError):
    """The stream ended in the middle of a message."""


class RPCError(Exception):
    """An error object of JSON-RPC 2.0 (specification, section 5.1).

    A client's call raises it; a server's function raises it to answer with exactly this code,
    message and data. Codes from -32768 to -32000 are reserved by the specification; of these
    -32000 to -32099 are for servers.
    """

    code: int = -32000
    _default: ClassVar[str] = "server error"

    def __init__(self, message: str = "", *, code: int | None = None, data: Any = None) -> None:
        self.message = message or self._default
        self.data = data
        if code is not None:
            self.code = code
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"


class ParseError(RPCError, ValueError):
    """-32700: what arrived is not JSON."""

    code = -32700
    _default = "parse error"


class InvalidRequest(RPCError, ValueError):
    """-32600: JSON, but not a request object."""

    code = -32600
    _default = "invalid request"


class MethodNotFound(RPCError, LookupError):
    """-32601: there is no such method here."""

    code = -32601
    _default = "method not found"


class InvalidParams(RPCError, TypeError):
    """-32602: the parameters do not fit the method."""

    code = -32602
    _default = "invalid params"


class InternalError(RPCError):
    """-32603: the server failed."""

    code = -32603
    _default = "internal error"

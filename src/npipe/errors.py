"""Exceptions of npipe that extend the builtin ones.

Where a builtin exception is exact, npipe raises the builtin:

=====================================================  ============================
Situation                                              Exception
=====================================================  ============================
There is no such pipe or socket                        FileNotFoundError
A socket file exists and no process serves it          ConnectionRefusedError
The client may not connect                             PermissionError
The server does not run as the expected user           PermissionError
The name is served already                             OSError (EADDRINUSE)
A deadline passed                                      TimeoutError
A write after the peer has closed the connection       BrokenPipeError
The connection was lost                                ConnectionResetError
This kind of connection cannot do the operation        io.UnsupportedOperation
The text is not an address                             ValueError
=====================================================  ============================

A read after the peer has closed the connection is not an error: ``read`` returns ``b""``.
"""

from __future__ import annotations

import errno
import os

TYPE_CHECKING = False  # importing typing would take as long as importing npipe
if TYPE_CHECKING:
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
    """The program itself closed the object, before or during the call (errno EBADF).

    This is not a ConnectionError: a loop that reconnects after a loss of the peer must not
    reconnect a connection that its own program closed.

    Args:
        what: Noun for the message: "connection", "listener".
    """

    def __init__(self, what: str = "connection") -> None:
        super().__init__(errno.EBADF, f"{os.strerror(errno.EBADF)}: this {what} has been closed")


class ConnectionLost(ConnectionError):
    """The connection ended before the reply to a call arrived.

    Args:
        message: The text of the error.
        maybe_executed: Whether the server may have run the call. False only if not one byte of
            the call was written: then it is safe to send the call again.
    """

    def __init__(self, message: str, *, maybe_executed: bool) -> None:
        super().__init__(message)
        self.maybe_executed = maybe_executed


class ProtocolError(ValueError):
    """The peer violated the protocol: the message is not JSON-RPC, too large or nested too deep."""


class Truncated(ProtocolError, EOFError):
    """The stream ended in the middle of a message."""


class RPCError(Exception):
    """An error object of JSON-RPC 2.0 (specification, section 5.1).

    A client's call raises it. A handler of a server raises it to reply with exactly this code,
    message and data.

    Args:
        message: The member "message"; empty takes the default text of the class.
        code: The member "code"; None takes the code of the class. The specification reserves
            -32768 to -32000; of these -32000 to -32099 are for servers.
        data: The member "data", any JSON value; None leaves it out.
    """

    code: int = -32000
    _default: ClassVar[str] = "server error"

    def __init__(self, message: str = "", *, code: int | None = None, data: Any = None) -> None:
        self.message: str = message or self._default
        self.data = data
        if code is not None:
            self.code = code
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"


class ParseError(RPCError, ValueError):
    """Error -32700: the message is not JSON."""

    code = -32700
    _default = "parse error"


class InvalidRequest(RPCError, ValueError):
    """Error -32600: the JSON is not a request object."""

    code = -32600
    _default = "invalid request"


class MethodNotFound(RPCError, LookupError):
    """Error -32601: the server has no such method."""

    code = -32601
    _default = "method not found"


class InvalidParams(RPCError, TypeError):
    """Error -32602: the parameters do not fit the method."""

    code = -32602
    _default = "invalid params"


class InternalError(RPCError):
    """Error -32603: the server failed."""

    code = -32603
    _default = "internal error"

"""Call log: one line per call, for ``Server(log_calls=True)`` and ``npipe serve --log-calls``.

A line contains the method, the client's id, the connection, the duration of the function and the
error code; never a parameter or a result. The attribute ``call`` of the log record contains the
same for structured formatters.
"""

from __future__ import annotations

import logging
from typing import Any

from npipe.rpc.wire.messages import trace_id

__all__ = ["log_call"]

log: logging.Logger = logging.getLogger("npipe.rpc.calls")

LONGEST = 100  # characters of a name or an id: a client may send any length


def log_call(
    method: str, id: str, connection: int, seconds: float, *, code: int, trace: bytes
) -> None:
    """Log one call.

    Args:
        method: The method name, as the client sent it.
        id: The id as JSON; empty for a notification.
        connection: The number of the connection.
        seconds: The duration of the function; 0 if none was called.
        code: The error code of the reply; 0: no error.
        trace: The result of ``trace_members`` for the request.
    """
    call: dict[str, Any] = {
        "method": _short(method),
        "id": _short(id) or None,
        "connection": connection,
        "ms": round(seconds * 1000, 3),
    }
    if code:
        call["code"] = code
    if found := trace_id(trace):
        call["trace_id"] = found
    text = "connection %06d: %s"
    told = " ".join(f"{name}={value}" for name, value in call.items() if name != "connection")
    level = logging.WARNING if code else logging.INFO
    log.log(level, text, connection, told, extra={"call": call})


def _short(text: str) -> str:
    """Shorten and escape a client's text, so that it cannot forge or flood log lines."""
    text = text[:LONGEST]
    return text if text.isprintable() else ascii(text)[1:-1]

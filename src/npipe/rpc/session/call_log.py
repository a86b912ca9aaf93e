"""One line of the log for each call: ``Server(log_calls=True)``, ``npipe serve --log-calls``.

The line names the method, the id that the client gave, the connection, the time in the function
and the code of an error; never a parameter or a result. A formatter for machines finds the same
in the attribute ``call`` of the record.
"""

from __future__ import annotations

import logging
import re
from typing import Any

__all__ = ["log_call"]

log = logging.getLogger("npipe.rpc.calls")

LONGEST = 100  # characters of a name or an id: a client could send any number
_find_trace_id = re.compile(rb'"traceparent":"[0-9a-f]{2}-([0-9a-f]{32})-').search


def log_call(
    method: str, id: bytes, connection: int, seconds: float, *, code: int, trace: bytes
) -> None:
    """Log one call.

    Args:
        method: The name that was called, as the client wrote it.
        id: The JSON text of the id; empty for a notification.
        connection: The number of the connection.
        seconds: How long the function took; 0 where none was called.
        code: Of the error that it was answered with; 0: none.
        trace: What ``trace_members`` found in the request.
    """
    call: dict[str, Any] = {
        "method": _short(method),
        "id": _short(id.decode(errors="replace")) or None,
        "connection": connection,
        "ms": round(seconds * 1000, 3),
    }
    if code:
        call["code"] = code
    found = _find_trace_id(trace) if trace else None
    if found is not None:
        call["trace_id"] = found[1].decode()
    text = "connection %06d: %s"
    told = " ".join(f"{name}={value}" for name, value in call.items() if name != "connection")
    level = logging.WARNING if code else logging.INFO
    log.log(level, text, connection, told, extra={"call": call})


def _short(text: str) -> str:
    """Return a text from a client so that it cannot forge a line of the log or fill it."""
    text = text[:LONGEST]
    return text if text.isprintable() else ascii(text)[1:-1]

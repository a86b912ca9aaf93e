"""The log of ``npipe serve``: lines on standard error, as text or JSON."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

__all__ = ["configure"]


class _Json(logging.Formatter):
    """Formats a record as one JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger and message, and the traceback if there is one."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (call := getattr(record, "call", None)) is not None:
            line |= {"pid": record.process, **call}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(level: str, *, as_json: bool, calls: bool = False) -> None:
    """Write the log to standard error from ``level`` on, and the log of calls if it is enabled."""
    logging.getLogger("npipe.rpc.calls").setLevel(logging.INFO if calls else logging.NOTSET)
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Json() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler])

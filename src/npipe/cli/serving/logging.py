"""The log of ``npipe serve``: lines on standard error, for people or as JSON for a collector."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

__all__ = ["configure"]


class _Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, logger and message, and the traceback if there is one."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure(level: str, *, as_json: bool) -> None:
    """Send the log to standard error from ``level`` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _Json() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler])

"""Deadline of one call, for all of its waits.

Sans-I/O: the flavours pass the current time, of ``time.monotonic()`` or of the event loop.
"""

from __future__ import annotations

__all__ = ["MAX_SECONDS", "Deadline", "check_timeout"]

MAX_SECONDS = (
    1e9  # about thirty years; locks and polls of the system accept at most nine times as much
)


def check_timeout(seconds: float | None, name: str = "timeout") -> float | None:
    """Check a timeout.

    Args:
        seconds: The timeout. 0 expires at once; None is no limit.
        name: The name of the parameter, for the error message.

    Returns:
        The timeout, in seconds.

    Raises:
        TypeError: ``seconds`` is not a number.
        ValueError: It is negative, NaN, infinite, or longer than thirty years.
    """
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{name} is a number of seconds or None, not {type(seconds).__name__}")
    if 0 <= seconds <= MAX_SECONDS:
        return seconds
    if seconds > MAX_SECONDS:
        raise ValueError(f"{name}={seconds} is too long: None stands for no limit")
    raise ValueError(f"{name} must be 0 seconds or more, not {seconds}")


class Deadline:
    """The time at which a call is cancelled.

    Attributes:
        seconds: The timeout, or None.
        end: The time, on the clock of the flavour; None is never.
    """

    __slots__ = ("end", "seconds")

    def __init__(self, seconds: float | None, now: float) -> None:
        self.seconds: float | None = check_timeout(seconds)
        self.end: float | None = None if seconds is None else now + seconds

    def left(self, now: float) -> float | None:
        """Return the seconds that are left, at least 0; None is no limit."""
        return None if self.end is None else max(0.0, self.end - now)

    def expired(self, what: str) -> TimeoutError:
        """Return the TimeoutError to raise after the deadline. ``what`` begins its message."""
        return TimeoutError(f"{what} within {self.seconds} seconds")

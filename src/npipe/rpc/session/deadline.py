"""The time limit of one call, over everything that it waits for.

Sans-I/O: both flavours pass the time in, that of ``time.monotonic()`` or of the event loop.
"""

from __future__ import annotations

__all__ = ["MAX_SECONDS", "Deadline", "check_timeout"]

MAX_SECONDS = (
    1e9  # some thirty years; a lock or a poll of the system takes no more than nine times that
)


def check_timeout(seconds: float | None, name: str = "timeout") -> float | None:
    """Return a timeout that can be waited for.

    Args:
        seconds: The timeout. 0 has expired at once; None is no limit.
        name: What the caller calls it, for the text of the error.

    Raises:
        TypeError: ``seconds`` is no number.
        ValueError: It is negative, not a number (NaN), infinite, or longer than thirty years.
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
    """The instant at which a call is given up.

    Attributes:
        seconds: The timeout that it was made of, or None.
        end: The instant, on the clock of the flavour; None is never.
    """

    __slots__ = ("end", "seconds")

    def __init__(self, seconds: float | None, now: float) -> None:
        self.seconds = check_timeout(seconds)
        self.end = None if seconds is None else now + seconds

    def left(self, now: float) -> float | None:
        """Return the seconds that are left, not less than 0; None is no limit."""
        return None if self.end is None else max(0.0, self.end - now)

    def expired(self, what: str) -> TimeoutError:
        """Return the error to raise once it has passed: ``what`` was not done within the time."""
        return TimeoutError(f"{what} within {self.seconds} seconds")

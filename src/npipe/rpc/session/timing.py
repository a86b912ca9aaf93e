"""Counters of one method: calls, durations and error codes. No I/O."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from npipe.rpc.session.atomic import snapshot

__all__ = ["BOUNDS", "LOWEST", "OTHER", "Timing"]

OTHER: Final = "_OTHER"
"""OpenTelemetry's label for unregistered methods, as a client could send any number of names."""

# Seconds. OpenTelemetry advises 5 ms for the lowest; a call over a pipe takes 20 microseconds.
LOWEST: Final = 5e-5
BOUNDS: Final = (
    *(LOWEST, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025),
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

_bucket: Final = bisect_left  # compiled code finds it without a look into the module's dict


class Timing:
    """Counters, incremented in place: a call allocates no object.

    ``buckets`` has one count per bound in ``BOUNDS``: of the calls that took at most that many
    seconds and more than the previous bound. The last count is of calls above all bounds.
    """

    __slots__ = ("buckets", "errors", "seconds")

    def __init__(self) -> None:
        self.seconds: float = 0.0
        self.buckets: list[int] = [0] * (len(BOUNDS) + 1)
        self.errors: dict[int, int] = {}  # by code

    @property
    def calls(self) -> int:
        """The number of calls."""
        return sum(self.buckets)

    def count(self, seconds: float) -> None:
        """Count a call."""
        self.seconds += seconds
        # Most calls are in the first: a search takes ten times as long as this comparison.
        self.buckets[0 if seconds <= LOWEST else _bucket(BOUNDS, seconds)] += 1

    def count_error(self, code: int) -> None:
        """Count the error code of a reply."""
        self.errors[code] = self.errors.get(code, 0) + 1

    def add(self, other: Timing) -> None:
        """Add the counts of another object."""
        self.seconds += other.seconds
        self.buckets = [a + b for a, b in zip(self.buckets, other.buckets, strict=True)]
        for code, number in snapshot(other.errors.items()):
            self.errors[code] = self.errors.get(code, 0) + number

    def record(self) -> dict[str, Any]:
        """Return the counts by name."""
        return {
            "calls": self.calls,
            "seconds": self.seconds,
            "buckets": list(self.buckets),
            "errors": dict(self.errors),
        }

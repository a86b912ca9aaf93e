"""How often a method was called, and how long that took. Pure."""

from __future__ import annotations

__all__ = ["Timing"]


class Timing:
    """Counted up in place: a call costs no new object."""

    __slots__ = ("calls", "seconds")

    def __init__(self) -> None:
        self.calls = 0
        self.seconds = 0.0

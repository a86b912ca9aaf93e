"""Waiting for what no event announces: a counter of another thread, an end that is noticed late.

Nothing else in the tests sleeps to wait for something. A test of which the passing of time is the
subject sleeps, and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

__all__ = ["until", "wait_until"]

STEP = 0.002  # seconds between two looks


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Return once the condition holds. Raises AssertionError if that takes longer."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {seconds:g} s"
        time.sleep(STEP)


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """As ``wait_until``, while other tasks of the loop run."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {seconds:g} s"
        await asyncio.sleep(STEP)

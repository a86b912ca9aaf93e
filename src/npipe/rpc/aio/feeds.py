"""Running the subscriptions that a connection on an event loop serves.

The next item is asked for only when the peer reads: a slow reader slows its own generators down.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Protocol

from npipe.rpc.subscriptions import Subscription

__all__ = ["FLUSH_BYTES", "feed", "feed_from_thread"]

FLUSH_BYTES = 256 * 1024  # queued while one read is worked on, or by one generator: then write
EACH = 64  # items that a generator pushes before others get their turn


class Fed(Protocol):
    """A link, as a feed sees it."""

    closed: bool
    queued: int

    @property
    def crowded(self) -> bool: ...
    async def room(self) -> None: ...
    def flush(self) -> None: ...
    def wake(self) -> None: ...


async def feed(link: Fed, subscription: Subscription) -> None:
    """Push what an async generator yields."""
    error: Exception | None = None
    items = subscription.items()
    pushed = 0
    try:
        async for item in items:
            if not subscription.push(item):
                break
            pushed += 1
            if link.queued > FLUSH_BYTES:
                link.flush()
            if pushed % EACH == 0:  # a generator that never waits
                await asyncio.sleep(0)
            if link.crowded:
                await link.room()
    except Exception as caught:
        error = caught
    finally:
        if hasattr(items, "aclose"):  # an iterator need not have it
            await items.aclose()
    subscription.finish(error)


def feed_from_thread(link: Fed, subscription: Subscription, room: threading.Event) -> None:
    """Push what a plain generator yields, in a thread of its own. ``room`` is set by each flush
    after which the peer reads."""
    error: Exception | None = None
    items = subscription.items()
    try:
        for item in items:
            if not subscription.push(item):
                break
            if link.queued > FLUSH_BYTES:
                room.clear()
                link.wake()
                if link.closed:
                    break
                room.wait()
    except Exception as caught:
        error = caught
    finally:
        if hasattr(items, "close"):
            items.close()
    subscription.finish(error)

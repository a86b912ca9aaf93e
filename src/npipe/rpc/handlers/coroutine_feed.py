"""Run the async generator of a served subscription, as a task of an event loop.

The twin of ``thread_feed``. asyncio is imported late: a server of plain functions does without.
"""

from __future__ import annotations

import contextlib
from typing import Any

from npipe.rpc.handlers.thread_feed import start_subscription
from npipe.rpc.session.served_subscriptions import ServedSubscription

__all__ = ["run_subscription_async"]

YIELD_EVERY = 64  # items that a generator pushes before other tasks of its loop get their turn


async def run_subscription_async(subscription: ServedSubscription) -> None:
    """Push what an async generator yields, to its end. Async middleware is awaited first, and may
    give a plain generator: that goes on in a thread."""
    import asyncio  # a server of plain functions does without

    error: BaseException | None = None
    try:
        items = subscription.items()
        if subscription.session.dispatcher.is_async:
            items = await items
            if not hasattr(items, "__aiter__"):
                start_subscription(subscription, items)
                return
        try:
            await _push_all_async(subscription, items)
        finally:
            if hasattr(items, "aclose"):
                await items.aclose()
    except asyncio.CancelledError:
        subscription.finish()
        raise
    except BaseException as caught:  # SystemExit and the like: told as well, for it has ended
        error = caught
    subscription.finish(error)
    if isinstance(error, KeyboardInterrupt):  # Ctrl-C is for the program
        raise error


async def _push_all_async(subscription: ServedSubscription, items: Any) -> None:
    import asyncio

    if subscription.call.cancelled:  # before it was begun
        return
    pushed = 0
    async for item in items:
        if not subscription.push(item):
            return
        pushed += 1
        if subscription.full:
            await _await_room_async(subscription)
        elif pushed % YIELD_EVERY == 0:  # a generator that never waits
            await asyncio.sleep(0)


async def _await_room_async(subscription: ServedSubscription) -> None:
    import asyncio

    loop, room, late = asyncio.get_running_loop(), asyncio.Event(), False

    def on_room() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(room.set)

    def expire() -> None:  # a look at the clock would not do: timers may be early by its tick
        nonlocal late
        late = True
        room.set()

    subscription.on_room = on_room
    seconds = subscription.session.limits.subscription_timeout
    while subscription.full:
        taken, late = subscription.taken, False
        timer = None if seconds is None else loop.call_later(seconds, expire)
        try:
            await room.wait()  # no wait_for: up to Python 3.11 it costs a task
        finally:
            if timer is not None:
                timer.cancel()
        if late and subscription.full and subscription.taken == taken:
            raise subscription.too_slow()
        room.clear()

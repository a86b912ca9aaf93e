"""Feed of a served subscription from an async generator, as a task of an event loop.

The counterpart of ``thread_feed``. asyncio is imported only when needed.
"""

from __future__ import annotations

import contextlib
from typing import Any

from npipe.rpc.handlers.thread_feed import start_subscription
from npipe.rpc.session.served_subscriptions import ServedSubscription

__all__ = ["run_subscription_async"]

YIELD_EVERY = 64  # items after which a generator yields to other tasks of the loop


async def run_subscription_async(subscription: ServedSubscription) -> None:
    """Push the items of an async generator until it ends.

    Async middleware is awaited first. If it returns a plain generator, that runs in a thread.
    """
    import asyncio  # not imported by servers of plain functions

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
    except BaseException as caught:  # also SystemExit: the subscription has ended
        error = caught
    subscription.finish(error)
    if isinstance(error, KeyboardInterrupt):  # must reach the program
        raise error


async def _push_all_async(subscription: ServedSubscription, items: Any) -> None:
    import asyncio

    if subscription.call.cancelled:  # before it began
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

    def expire() -> None:  # a flag, not the clock: timers may fire early by its resolution
        nonlocal late
        late = True
        room.set()

    subscription.on_room = on_room
    seconds = subscription.session.limits.subscription_timeout
    while subscription.full:
        taken, late = subscription.taken, False
        timer = None if seconds is None else loop.call_later(seconds, expire)
        try:
            await room.wait()  # not wait_for, which creates a task up to Python 3.11
        finally:
            if timer is not None:
                timer.cancel()
        if late and subscription.full and subscription.taken == taken:
            raise subscription.too_slow()
        room.clear()

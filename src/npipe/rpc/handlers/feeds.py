"""Running the generator of a subscription that is served: the same for both shells.

What a subscription has queued is written by the shell, whenever it can. Here is only decided when
the generator is asked for its next item, and when its reader is given up on: see ``subscriptions``.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from npipe.rpc.session.served_subscriptions import Subscription

__all__ = ["feed", "feed_async", "start_feed"]

EACH = 64  # items that an async generator pushes before others get their turn on its loop


def feed(subscription: Subscription, items: Any = None) -> None:
    """Push what a plain generator yields, in this thread, to its end."""
    error: BaseException | None = None
    try:
        items = subscription.items() if items is None else items
        try:
            _push_all(subscription, items)
        finally:
            if hasattr(items, "close"):  # a generator; an iterator may have none
                items.close()
    except BaseException as caught:  # SystemExit and the like: told as well, for it has ended
        error = caught
    subscription.finish(error)


def _push_all(subscription: Subscription, items: Any) -> None:
    if subscription.call.cancelled:  # before it was begun
        return
    for item in items:
        if not subscription.push(item):
            return
        if subscription.full:
            _await_room(subscription)


def _await_room(subscription: Subscription) -> None:
    room = threading.Event()
    subscription.on_room = room.set
    seconds = subscription.session.limits.subscription_timeout
    while subscription.full:
        taken = subscription.taken
        if not room.wait(seconds) and subscription.full and subscription.taken == taken:
            raise subscription.too_slow()
        room.clear()


def start_feed(subscription: Subscription, items: Any = None) -> None:
    """Push what a plain generator yields, in a thread of its own."""
    name = f"npipe-{subscription.session.connection_id:06d}-feed"
    thread = threading.Thread(target=feed, args=(subscription, items), name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:  # no thread to be had
        subscription.finish(error)


async def feed_async(subscription: Subscription) -> None:
    """Push what an async generator yields, to its end. Async middleware is awaited first, and may
    give a plain generator: that goes on in a thread."""
    import asyncio  # a server of plain functions does without

    error: BaseException | None = None
    try:
        items = subscription.items()
        if subscription.session.dispatcher.is_async:
            items = await items
            if not hasattr(items, "__aiter__"):
                start_feed(subscription, items)
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


async def _push_all_async(subscription: Subscription, items: Any) -> None:
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
        elif pushed % EACH == 0:  # a generator that never waits
            await asyncio.sleep(0)


async def _await_room_async(subscription: Subscription) -> None:
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

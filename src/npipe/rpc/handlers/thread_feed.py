"""Feed of a served subscription from a plain generator, in a thread.

``session.served_subscriptions`` queues the items and the driver writes them. This module decides
when the generator is asked for its next item, and when a subscriber is too slow.
"""

from __future__ import annotations

import threading
from typing import Any

from npipe.rpc.session.served_subscriptions import ServedSubscription

__all__ = ["run_subscription", "start_subscription"]


def run_subscription(subscription: ServedSubscription, items: Any = None) -> None:
    """Push the items of a plain generator until it ends, in this thread."""
    error: BaseException | None = None
    try:
        items = subscription.items() if items is None else items
        try:
            _push_all(subscription, items)
        finally:
            if hasattr(items, "close"):  # a generator; an iterator may have none
                items.close()
    except BaseException as caught:  # also SystemExit: the subscription has ended
        error = caught
    subscription.finish(error)


def _push_all(subscription: ServedSubscription, items: Any) -> None:
    if subscription.call.cancelled:  # before it began
        return
    for item in items:
        if not subscription.push(item):
            return
        if subscription.full:
            _await_room(subscription)


def _await_room(subscription: ServedSubscription) -> None:
    room = threading.Event()
    subscription.on_room = room.set
    seconds = subscription.session.limits.subscription_timeout
    while subscription.full:
        taken = subscription.taken
        if not room.wait(seconds) and subscription.full and subscription.taken == taken:
            raise subscription.too_slow()
        room.clear()


def start_subscription(subscription: ServedSubscription, items: Any = None) -> None:
    """Push the items of a plain generator, in a new thread."""
    name = f"{subscription.session.name}-feed"
    thread = threading.Thread(
        target=run_subscription, args=(subscription, items), name=name, daemon=True
    )
    try:
        thread.start()
    except RuntimeError as error:  # no thread can be started
        subscription.finish(error)

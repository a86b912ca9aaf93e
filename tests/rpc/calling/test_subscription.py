"""What subscriptions of both flavours share: the id, and waking the iteration."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Raw

from npipe.rpc.calling.subscription import SubscriptionBase
from npipe.rpc.session.served_subscriptions import Push
from npipe.rpc.wire.json_encoding import JSON


class Subscription(SubscriptionBase[int]):
    def _make_wake(self) -> Callable[[], object]:
        self.woken: list[None] = []
        return lambda: self.woken.append(None)


def test_an_item_wakes_the_iteration_and_has_the_type_asked_for() -> None:
    closed: list[bytes] = []
    made = Subscription(JSON(), int, 10, closed.append)
    made.push(Push(subscription=Raw(b'"0x1"'), result=Raw(b"5")))  # before the reply with the id
    made.begin(Raw(b'"0x1"'))
    assert (made.id, len(made.woken), made._queue.take()) == ("0x1", 1, 5)
    made.push(ConnectionResetError("lost"))
    assert len(made.woken) == 2
    made._queue.close()
    assert closed == []  # it had ended

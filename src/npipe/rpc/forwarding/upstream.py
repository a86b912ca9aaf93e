"""Upstream: a connection to one server for one client, and the calls that are sent on it."""

from __future__ import annotations

from collections.abc import Callable

from npipe.rpc.forwarding.balancer import Name
from npipe.rpc.session.pending_calls import Pending
from npipe.rpc.session.served_calls import BatchItem
from npipe.rpc.session.session import Session
from npipe.rpc.wire.envelopes import Message

__all__ = ["ForwardedCall", "Upstream"]


class Upstream:
    """A connection to one server for one client. The runtime dials, and sets the callables."""

    def __init__(self, name: Name) -> None:
        self.name = name
        self.session: Session | None = None  # once it is connected
        self.closed = False
        self.crowded: Callable[[], bool] = lambda: False  # the server does not read
        self.close: Callable[[], object] = lambda: None
        self.waiting: list[ForwardedCall] = []  # calls to send once it is connected
        self.renamed: dict[bytes, bytes] = {}  # new ids, where two servers used the same one

    @property
    def usable(self) -> bool:
        """True while it is connected or being connected."""
        return not (self.closed or (self.session is not None and self.session.closed))


class ForwardedCall:
    """A call of the client; without an id, a notification."""

    __slots__ = (
        "batch",
        "cancelled",
        "id",
        "is_subscribing",
        "message",
        "pending",
        "tried",
        "unsubscribes",
        "upstream",
    )

    def __init__(self, message: Message, id: bytes, batch: BatchItem | None) -> None:
        self.message: Message = message
        self.id: bytes = id
        self.is_subscribing: bool = str(message.method).endswith("subscribe")  # or unsubscribing
        self.batch: BatchItem | None = batch
        self.cancelled: bool = False
        self.upstream: Upstream | None = None
        self.pending: Pending | None = None  # once it is sent
        self.tried: tuple[Name, ...] = ()
        self.unsubscribes: bytes = b""  # the client's id of the subscription that it ends

"""Distribution of the calls of one client over several servers: ``rpc.Spread``.

Sans-I/O. An *upstream* is a connection to one server for one client, opened at the first call to
that server. A call goes to the server with the fewest calls and subscriptions in progress, over all
clients. A cancellation or an unsubscribe goes to the server of the call or subscription.

When an upstream is lost, a call of which no byte was sent goes to another server. Any other call is
answered with an error with the data ``{"maybe_executed": true}``, because only the client knows
whether the call may be executed twice.

Not thread-safe: the runtime uses it in one thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from msgspec import Raw

from npipe.errors import ConnectionLost, RPCError
from npipe.rpc.forwarding.balancer import Balancer, Name
from npipe.rpc.forwarding.relay import Relay, forwarded_reply
from npipe.rpc.forwarding.upstream import ForwardedCall, Upstream
from npipe.rpc.service.dispatcher import CANCELLED, LIMIT_EXCEEDED
from npipe.rpc.session.pending_calls import Outcome
from npipe.rpc.session.served_calls import BatchItem
from npipe.rpc.session.session import Session
from npipe.rpc.wire.envelopes import BAD_DATA, Message
from npipe.rpc.wire.json_text import trace_members

__all__ = ["Spreading"]

log: logging.Logger = logging.getLogger("npipe.rpc")


class _Subscription(NamedTuple):
    """The location of a subscription."""

    upstream: Upstream
    id: bytes  # the id on the server
    push: str  # the method of its notifications


class Spreading:
    """Distributes the calls of one client. Receives the messages of the client's session."""

    def __init__(
        self, source: Session, balancer: Balancer, dial: Callable[[Upstream], object]
    ) -> None:
        """Distribute the messages that ``source`` receives.

        Args:
            source: The session with the client.
            balancer: Chooses the server of each call.
            dial: Begins to connect an upstream; ``opened`` or ``lost`` is called later.
        """
        self._source = source
        self._encoding = source.encoding  # also that of the servers: ``Spread`` refuses others
        self._balancer = balancer
        self._dial = dial
        self._upstreams: dict[Name, Upstream] = {}
        self._calls: dict[bytes, ForwardedCall] = {}  # by the client's id
        self._subscriptions: dict[bytes, _Subscription] = {}  # by the client's id
        self._count = 0  # calls without a reply; two of them may have the same id
        self._closed = False
        source.become_proxy(self, self)

    def __len__(self) -> int:
        return self._count

    @property
    def crowded(self) -> bool:
        """True while no server reads; then the client should not be read from either."""
        upstreams = [
            upstream
            for upstream in self._upstreams.values()
            if upstream.session is not None and upstream.usable
        ]
        return bool(upstreams) and all(upstream.crowded() for upstream in upstreams)

    def __call__(self, message: Message, id: bytes, batch: BatchItem | None) -> None:
        """Process a message of the client. Raises RPCError if it cannot be forwarded."""
        if id:
            most = self._source.limits.calls
            if self._count >= most:
                raise RPCError(f"more than {most} calls in flight", code=LIMIT_EXCEEDED)
            call = ForwardedCall(message, id, batch)
            self._count += 1
            self._calls[id] = call
            found = self._upstream_of_subscription(call) if call.is_subscribing else None
            self._place(call, found)
            return
        try:
            if message.method == "$/cancelRequest":
                self._cancel(self._source.encoding.read_cancelled(message.params))
            elif message.method == "$/progress":  # of a call that a server made
                self._source.outgoing_calls.take_progress(message.params)
            else:
                self._place(ForwardedCall(message, id, batch), None)
        except BAD_DATA:
            self._source.outgoing_calls.unmatched += 1
        self._source.deliver(id, batch, b"")

    # Upstreams

    def opened(self, upstream: Upstream, session: Session) -> None:
        """Handle the connection of an upstream: send the calls that waited for it."""
        _FromServer(self, upstream, session, self._source).start()
        upstream.session = session
        waiting, upstream.waiting = upstream.waiting, []
        for call in waiting:
            self._send(call, upstream)

    def lost(self, upstream: Upstream, reason: str) -> None:
        """Handle an upstream that could not be connected, or has ended."""
        upstream.closed = True
        if self._upstreams.get(upstream.name) is upstream:
            del self._upstreams[upstream.name]
        waiting, upstream.waiting = upstream.waiting, []
        for call in waiting:
            self._end(call, ConnectionLost(reason, maybe_executed=False))
        gone = [id for id, found in self._subscriptions.items() if found.upstream is upstream]
        for id in gone:
            method = self._subscriptions[id].push
            self._forget_subscription(id)
            error = self._encoding.error_object(RPCError(f"the server has ended: {reason}"))
            params = self._encoding.object({"subscription": id, "error": error})
            self._source.send(self._encoding.request(method, params))

    def close(self) -> None:
        """Close every upstream after the client has disconnected."""
        self._closed = True
        for id in tuple(self._subscriptions):
            self._forget_subscription(id)
        for upstream in tuple(self._upstreams.values()):
            upstream.close()

    def _pick(self, tried: Collection[Name]) -> Upstream | None:
        """Return the least loaded server, found in one pass, as this runs for each call."""
        down, load, upstreams = self._balancer.down, self._balancer.load, self._upstreams
        best: Name = None
        least: tuple[bool, bool, int, bool] | None = None
        for name in self._balancer.names():
            if name in tried:
                continue
            upstream = upstreams.get(name)
            usable = upstream is not None and upstream.usable
            crowded = usable and upstream.crowded()  # type: ignore[union-attr]
            rank = (name in down, crowded, load[name], not usable)
            if least is None or rank < least:
                best, least = name, rank
        if least is None:
            return None
        if not least[-1]:
            return upstreams[best]
        upstream = upstreams[best] = Upstream(best)
        self._dial(upstream)
        return upstream

    # Calls

    def _place(self, call: ForwardedCall, upstream: Upstream | None) -> None:
        """Send a call over ``upstream``, or else to the least loaded server."""
        if upstream is None or not upstream.usable:
            upstream = self._pick(call.tried)
        if upstream is None:
            self._answer(call, _lost("no server is there", maybe_executed=False))
            return
        call.upstream = upstream
        call.tried += (upstream.name,)
        if call.id:
            self._balancer.load[upstream.name] += 1
        if upstream.session is None:
            upstream.waiting.append(call)
        else:
            self._send(call, upstream)

    def _send(self, call: ForwardedCall, upstream: Upstream) -> None:
        assert upstream.session is not None
        outgoing = upstream.session.outgoing_calls
        method, params = str(call.message.method), bytes(call.message.params)
        members = trace_members(call.message) if call.message.traceparent else b""
        if not call.id:
            outgoing.notify(method, params, members=members)
            return

        on_reply, on_progress = partial(self._end, call), partial(self._progress, call)
        try:
            call.pending = outgoing.call(method, params, on_reply, on_progress, members=members)
        except ConnectionLost as error:  # the upstream has ended
            self._end(call, error)

    def _progress(self, call: ForwardedCall, value: Raw) -> None:
        text = self._encoding.progress(call.id, bytes(value) or self._encoding.null)
        self._source.send(text)

    def _end(self, call: ForwardedCall, outcome: Outcome) -> None:
        """Handle the outcome of a call: reply, or send it to another server."""
        assert call.upstream is not None
        if call.id:
            self._balancer.load[call.upstream.name] -= 1
        if self._closed:
            return
        if isinstance(outcome, ConnectionLost):
            self._balancer.lost["maybe" if outcome.maybe_executed else "not"] += 1
            if not outcome.maybe_executed and not call.cancelled:
                self._place(call, None)
                return
            if outcome.maybe_executed:
                outcome = _lost(f"the server was lost: {outcome}", maybe_executed=True)
            else:
                outcome = RPCError("the call was cancelled", code=CANCELLED)
        elif not isinstance(outcome, Exception) and call.is_subscribing:
            outcome = self._note_subscription(call, outcome)
        self._answer(call, outcome)

    def _answer(self, call: ForwardedCall, outcome: Outcome) -> None:
        if not call.id:
            return
        self._count -= 1
        if self._calls.get(call.id) is call:
            del self._calls[call.id]
        reply = forwarded_reply(call.id, outcome, self._encoding, self._encoding)
        self._source.deliver(call.id, call.batch, reply)

    def _cancel(self, id: bytes) -> None:
        call = self._calls.get(id)
        if call is None or call.upstream is None:
            return
        call.cancelled = True
        if call in call.upstream.waiting:
            call.upstream.waiting.remove(call)
            self._end(call, RPCError("the call was cancelled", code=CANCELLED))
        elif call.pending is not None and call.upstream.session is not None:
            call.upstream.session.send(self._encoding.cancel(call.pending.ids[0]))

    # Subscriptions

    def _note_subscription(self, call: ForwardedCall, outcome: Raw) -> Raw:
        """Record a new or an ended subscription; return the result to send to the client."""
        method, upstream = str(call.message.method), call.upstream
        assert upstream is not None
        if method.endswith("_subscribe"):
            there = id = bytes(outcome)
            if id in self._subscriptions:  # some servers number them: several may use 0x1
                id = upstream.renamed[there] = self._encoding.encode(f"0x{os.urandom(16).hex()}")
            push = f"{method.removesuffix('_subscribe')}_subscription"
            self._subscriptions[id] = _Subscription(upstream, there, push)
            self._balancer.load[upstream.name] += 1
            return Raw(id)
        if call.unsubscribes:
            self._forget_subscription(call.unsubscribes)
        return outcome

    def _upstream_of_subscription(self, call: ForwardedCall) -> Upstream | None:
        """Return the upstream of the subscription that a call ends; None if it ends none."""
        message = call.message
        if not str(message.method).endswith("_unsubscribe"):
            return None
        id = self._first(message.params)
        found = self._subscriptions.get(id)
        if found is None:
            return None
        call.unsubscribes = id
        message.params = Raw(self._encoding.array([found.id]))
        return found.upstream

    def _first(self, params: Raw) -> bytes:
        """Return the only parameter; empty if there is another number of them."""
        with suppress(*BAD_DATA):
            items = self._encoding.items(params)
            return bytes(items[0]) if len(items) == 1 else b""
        return b""

    def _forget_subscription(self, id: bytes) -> None:
        found = self._subscriptions.pop(id, None)
        if found is not None:
            found.upstream.renamed.pop(found.id, None)
            self._balancer.load[found.upstream.name] -= 1

    def pushed(self, upstream: Upstream, params: Raw) -> bytes:
        """Process a notification of a server; return the params to forward."""
        push = self._encoding.read_push(params)
        there = bytes(push.subscription)
        id = upstream.renamed.get(there, there)
        if push.end or push.error:
            self._forget_subscription(id)
        if id == there:
            return bytes(params)
        return self._encoding.object({**self._encoding.members(params), "subscription": id})


class _FromServer(Relay):
    """Forwards the messages of a server to the client, and tracks its subscriptions."""

    def __init__(
        self, owner: Spreading, upstream: Upstream, session: Session, client: Session
    ) -> None:
        super().__init__(session, client)
        self._owner = owner
        self._upstream = upstream

    def __call__(self, message: Message, id: bytes, batch: BatchItem | None) -> None:
        if not id and str(message.method).endswith("_subscription"):
            with suppress(*BAD_DATA):  # otherwise it is an unrelated notification
                message.params = Raw(self._owner.pushed(self._upstream, message.params))
        super().__call__(message, id, batch)


def _lost(text: str, *, maybe_executed: bool) -> RPCError:
    return RPCError(text, data={"maybe_executed": maybe_executed})

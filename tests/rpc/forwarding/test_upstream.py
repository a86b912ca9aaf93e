"""When an upstream can take a call, and what a call remembers."""

from __future__ import annotations

from npipe.rpc import API
from npipe.rpc.forwarding.upstream import ForwardedCall, Upstream
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session
from npipe.rpc.wire.envelopes import Message


def test_an_upstream_is_usable_until_it_or_its_session_is_closed() -> None:
    upstream = Upstream("a")
    assert upstream.usable  # it is being connected
    assert not upstream.crowded()
    upstream.session = Session(Dispatcher(API()))
    assert upstream.usable
    upstream.session.close()
    assert not upstream.usable
    never = Upstream("b")
    never.closed = True
    assert not never.usable


def test_a_call_that_makes_or_ends_a_subscription_is_known_by_its_name() -> None:
    for method, subscribing in (
        ("eth_subscribe", True),
        ("eth_unsubscribe", True),
        ("eth_subscription", False),
        ("eth_call", False),
    ):
        call = ForwardedCall(Message("2.0", method=method), b"1", None)
        assert call.is_subscribing is subscribing
        assert (call.tried, call.pending, call.cancelled) == ((), None, False)

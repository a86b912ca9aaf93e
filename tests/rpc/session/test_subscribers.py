"""Which receiver gets which notification, and how subscriptions end."""

from __future__ import annotations

import pytest
from msgspec import Raw

from npipe.errors import ConnectionLost
from npipe.rpc.session.subscribers import Subscribers
from npipe.rpc.wire.envelopes import Push

ONE, TWO = b'"0x1"', b'"0x2"'
LOST = ConnectionLost("lost", maybe_executed=True)


@pytest.fixture
def got() -> list[Push | Exception]:
    return []


@pytest.fixture
def subscribers(got: list[Push | Exception]) -> Subscribers:
    subscribers = Subscribers()
    subscribers.add(ONE, got.append)
    return subscribers


def test_a_notification_goes_to_the_receiver_of_its_id(
    subscribers: Subscribers, got: list[Push | Exception]
) -> None:
    push = Push(Raw(ONE), result=Raw(b"1"))
    assert subscribers.push(push)
    assert not subscribers.push(Push(Raw(TWO), result=Raw(b"2")))
    assert got == [push]


@pytest.mark.parametrize("last", [Push(Raw(ONE), end=True), Push(Raw(ONE), error=Raw(b"{}"))])
def test_the_last_notification_ends_the_subscription(
    subscribers: Subscribers, got: list[Push | Exception], last: Push
) -> None:
    assert subscribers.push(last)
    assert not subscribers.receivers
    assert not subscribers.push(last)
    assert got == [last]


def test_a_discarded_subscription_receives_nothing(
    subscribers: Subscribers, got: list[Push | Exception]
) -> None:
    subscribers.discard(ONE)
    subscribers.discard(ONE)
    assert not subscribers.push(Push(Raw(ONE)))
    subscribers.end(LOST)
    assert got == []


def test_the_end_of_the_connection_ends_each_once_now_and_later(
    subscribers: Subscribers, got: list[Push | Exception]
) -> None:
    subscribers.end(LOST)
    subscribers.end(ConnectionLost("again", maybe_executed=False))
    assert got == [LOST]
    subscribers.add(TWO, got.append)  # its reply was processed meanwhile
    assert got == [LOST, LOST]
    assert not subscribers.receivers

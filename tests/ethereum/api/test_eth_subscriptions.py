"""What is kept for a subscriber that does not read. That clients hear of blocks: test_clients."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest

import npipe.ethereum as ethereum
from npipe import rpc
from npipe.ethereum.api.eth_subscriptions import _MAX_QUEUED, EthSubscriptions
from npipe.ethereum.chain.events import EventBus
from npipe.rpc.handlers.thread_feed import run_subscription
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.served_subscriptions import ServedSubscription
from npipe.rpc.session.session import Session


def subscribe(hub: EventBus, limits: rpc.Limits) -> tuple[Session, ServedSubscription]:
    api = rpc.API()
    api.register("eth", EthSubscriptions(hub))
    made: list[ServedSubscription] = []
    session = Session(Dispatcher(api), limits=limits, on_subscription=made.append)
    session.receive(
        [b'{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newPendingTransactions"]}']
    )
    assert session.next_call() is None
    session.take()
    return session, made[0]


def publish(hub: EventBus, first: int, last: int) -> None:
    for number in range(first, last):
        hub.new_pending(SimpleNamespace(hash=number.to_bytes(32, "big")))


def test_the_chain_never_waits_for_a_reader_and_keeps_a_bounded_number_of_events() -> None:
    hub = EventBus()
    limits = rpc.Limits(subscription_bytes=1000, subscription_timeout=None)
    session, subscription = subscribe(hub, limits)
    feeding = threading.Thread(target=run_subscription, args=(subscription,), daemon=True)
    feeding.start()
    publish(hub, 0, _MAX_QUEUED)
    assert len(hub) == 1  # so many are kept for it
    publish(hub, _MAX_QUEUED, _MAX_QUEUED + 100)
    assert len(hub) == 0  # and no more
    lines: list[bytes] = []
    while feeding.is_alive() or session.has_pushes:
        lines += session.take(pushes=True).splitlines()
    *items, last = [json.loads(line)["params"] for line in lines]
    assert [int(item["result"], 16) for item in items] == list(range(len(items)))
    assert len(items) >= _MAX_QUEUED
    assert last["error"]["message"] == "subscription queue overflow: the reader was too slow"


def test_a_subscriber_that_is_dropped_is_not_listened_for_any_more() -> None:
    hub = EventBus()
    limits = rpc.Limits(subscription_bytes=100, subscription_timeout=0.01)
    session, subscription = subscribe(hub, limits)
    publish(hub, 0, 10)
    run_subscription(subscription)
    assert len(hub) == 0
    *_, last = session.take(pushes=True).splitlines()
    assert json.loads(last)["params"]["error"]["code"] == -32005


def test_syncing_is_a_subscription_on_which_nothing_comes(
    api: rpc.API, service: ethereum.Service
) -> None:
    """As with a geth that has nothing to catch up with."""
    with (
        rpc.Server(api) as server,
        rpc.connect(server, timeout=60) as client,
        client.subscribe("eth", "syncing") as syncing,
        client.subscribe("eth", "newHeads") as heads,
    ):
        assert str(syncing.id).startswith("0x") and syncing.id != heads.id
        client.call("evm_mine")
        assert heads.next(timeout=60)["number"] == "0x1"
        with pytest.raises(TimeoutError):
            syncing.next(timeout=0)
        assert client.call("eth_syncing") is False
        assert client.call("eth_unsubscribe", syncing.id) is True
        with pytest.raises(rpc.RPCError, match="subscription not found"):
            client.call("eth_unsubscribe", syncing.id)
        with pytest.raises(rpc.RPCError, match=r"no .*subscription"):
            client.subscribe("eth", "syncings")

"""A client's subscription, as an iterator for threads."""

from __future__ import annotations

import pytest

from npipe import rpc
from npipe.errors import ClosedError, ConnectionLost
from rpc.service import Service, make_api


def test_subscriptions(client: rpc.Client, service: Service) -> None:
    assert list(client.subscribe("test", "counter", 5)) == [0, 1, 2, 3, 4]
    failing = client.subscribe("test", "failing")
    assert failing.next(10) == 1
    with pytest.raises(rpc.RPCError, match="no more"):
        failing.next(10)
    with pytest.raises(rpc.MethodNotFound):
        client.subscribe("test", "nothing")
    with client.subscribe("test", "endless") as endless:
        assert [endless.next(10) for _ in range(3)] == [0, 1, 2]
        assert endless.id.startswith("0x")
    assert service.cancelled.wait(60)
    with pytest.raises(ClosedError):
        endless.next()
    assert client.call("subtract", 3, 1) == 2


def test_a_subscription_ends_with_its_connection(client: rpc.Client, server: rpc.Server) -> None:
    endless = client.subscribe("test", "endless")
    endless.next(10)
    server.stop()
    with pytest.raises(ConnectionLost):
        for _ in endless:
            pass


def test_items_that_no_one_takes_end_the_subscription(client: rpc.Client, service: Service) -> None:
    endless = client.subscribe("test", "endless", queue_size=10)
    assert service.cancelled.wait(60)  # unsubscribed
    assert [endless.next(10) for _ in range(10)] == list(range(10))
    with pytest.raises(rpc.RPCError, match="more than 10 items"):
        endless.next(10)


def test_a_renewed_subscription_marks_the_gap(address: str) -> None:
    first = rpc.Server(make_api())
    first.serve(address)
    client = rpc.connect(address, reconnect=10, timeout=60)
    items = client.subscribe("test", "endless", renew=True)
    assert items.next(10) == 0
    first.stop()
    second = rpc.Server(make_api())
    second.serve(address)
    while (item := items.next(10)) is not rpc.GAP:
        assert isinstance(item, int)
    assert items.next(10) == 0
    items.close()
    client.close()
    second.stop()

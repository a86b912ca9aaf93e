"""The counters of a server, and the sums over several."""

from __future__ import annotations

import json
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.session.server_stats import add_up


class Shop:
    def buy(self, count: int) -> int:
        if not count:
            raise rpc.RPCError("none", code=7)
        return count


def serve() -> rpc.Server:
    api = rpc.API()
    api.register("shop", Shop())
    return rpc.Server(api)


def use(server: rpc.Server) -> None:
    with rpc.connect(server, timeout=20) as client:
        assert client.call("shop_buy", 1) == 1
        for method in ("shop_buy", "shop_sell"):
            with pytest.raises(rpc.RPCError):
                client.call(method, 0)


def essence(stats: dict[str, Any]) -> Any:
    methods = {
        name: (each["calls"], sum(each["buckets"]), each["errors"])
        for name, each in stats["methods"].items()
    }
    return stats["connections"]["total"], stats["calls"], stats["errors"], methods


def test_connections_that_have_ended_still_count() -> None:
    with serve() as server:
        use(server)
        use(server)
        with rpc.connect(server, timeout=20) as client:
            client.call("shop_buy", 1)
            expected = {"_OTHER": (2, 2, {-32601: 2}), "shop_buy": (5, 5, {7: 2})}
            assert essence(server.stats()) == (3, 7, 4, expected)
            assert server.stats()["in_flight"] == 0


def test_the_sum_of_servers_is_what_one_would_report() -> None:
    reports = []
    for _ in range(3):
        with serve() as server:
            use(server)
            reports.append(json.loads(json.dumps(server.stats())))  # as it comes from a worker
    total = add_up(reports)
    expected = {"_OTHER": (3, 3, {-32601: 3}), "shop_buy": (6, 6, {7: 3})}
    assert essence(total) == (3, 9, 6, expected)
    assert total.keys() == reports[0].keys()
    seconds = [each["methods"]["shop_buy"]["seconds"] for each in reports]
    assert total["methods"]["shop_buy"]["seconds"] == pytest.approx(sum(seconds))

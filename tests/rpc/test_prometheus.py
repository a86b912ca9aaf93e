"""The counters as Prometheus reads them."""

from __future__ import annotations

import pytest

from npipe import rpc
from npipe.rpc import prometheus


def scrape(stats: dict[str, object]) -> dict[str, float]:
    """Return the samples of a scrape by what stands before the value."""
    lines = prometheus.render(stats).decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def test_all_that_a_server_counts() -> None:
    api = rpc.API()
    api.register("shop", {"buy": lambda: 1})
    with rpc.Server(api) as server, rpc.connect(server, timeout=20) as client:
        client.call("shop_buy")
        with pytest.raises(rpc.RPCError):
            client.call("shop_sell")
        found = scrape(server.stats())
    duration = "rpc_server_call_duration_seconds"
    assert found["npipe_open_connections"] == found["npipe_connections_total"] == 1
    assert found["npipe_received_bytes_total"] > 50 < found["npipe_sent_bytes_total"]
    assert found["npipe_subscriptions"] == found["npipe_calls_in_flight"] == 0
    assert found[duration + '_count{rpc_method="shop_buy"}'] == 1
    assert found[duration + '_bucket{rpc_method="shop_buy",le="+Inf"}'] == 1
    assert 0 < found[duration + '_sum{rpc_method="shop_buy"}'] < 10
    name = 'rpc_server_call_errors_total{rpc_method="_OTHER",rpc_response_status_code="-32601"}'
    assert found[name] == 1


def method(*buckets: int, **errors: int) -> dict[str, object]:
    filled = [*buckets, *[0] * (len(prometheus.BOUNDS) + 1 - len(buckets))]
    return {"seconds": 0.5, "buckets": filled, "errors": {int(k[1:]): n for k, n in errors.items()}}


def test_buckets_are_cumulative_and_names_are_escaped() -> None:
    with rpc.Server(rpc.API()) as server:
        stats = {**server.stats(), "methods": {'a"\\\n': method(1, 2, 4, e7=3)}}
    text = prometheus.render(stats).decode()
    found = scrape(stats)
    label = r'rpc_method="a\"\\\n"'
    bucket = "rpc_server_call_duration_seconds_bucket{" + label + ',le="'
    assert [found[f'{bucket}{bound}"}}'] for bound in ("5e-05", "0.0001", "10.0")] == [1, 3, 7]
    assert found[f'{bucket}+Inf"}}'] == 7
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            assert line.split()[3] in ("gauge", "counter", "histogram")

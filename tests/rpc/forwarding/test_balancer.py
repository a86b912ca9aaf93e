"""The order in which servers are tried."""

from __future__ import annotations

from npipe.rpc.forwarding.balancer import Balancer


def test_the_least_loaded_server_is_first() -> None:
    balancer = Balancer(lambda: ("a", "b", "c"))
    balancer.load.update(a=2, b=1, c=3)
    assert balancer.up() == ["b", "a", "c"]
    assert balancer.up(tried=("b",)) == ["a", "c"]


def test_a_server_that_is_down_is_used_only_if_there_is_no_other() -> None:
    balancer = Balancer(lambda: ("a", "b"))
    balancer.load.update(b=9)
    balancer.mark_down("a")
    assert balancer.up() == ["b"]
    balancer.mark_down("b")
    assert balancer.up() == ["a", "b"]
    balancer.mark_up("a")
    balancer.mark_up("never down")
    assert balancer.up() == ["a"]


def test_the_servers_may_change() -> None:
    names = ["a"]
    balancer = Balancer(lambda: names)
    names.append("b")
    assert balancer.up(tried=("a",)) == ["b"]

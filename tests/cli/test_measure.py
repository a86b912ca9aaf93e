"""Tests of npipe.cli.measure: the loads of ``npipe bench``, on a server that counts."""

from __future__ import annotations

import pytest

from npipe import rpc
from npipe.cli.measure import LOADS, Load, run
from npipe.transport.memory import memory_pair

REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"a_b"}\n'


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    @rpc.method(inline=True)
    def b(self) -> int:
        self.calls += 1
        return self.calls


@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.name)
@pytest.mark.parametrize("connections", [1, 2])
def test_each_answer_is_counted_once(load: Load, connections: int) -> None:
    counter, api = Counter(), rpc.API()
    api.register("a", counter)
    with rpc.Server(api) as server:

        def connect():  # type: ignore[no-untyped-def]
            ours, theirs = memory_pair()
            server.serve_connection(theirs)
            return ours

        result = run(load, connect, REQUEST, 0.02, connections)
    assert result.calls == counter.calls > 0
    assert len(result.latencies) == result.calls / load.calls
    assert 0 < result.p50 <= result.p90 <= result.p99 <= result.p99_9 == result.latencies[-1]


def test_a_failure_to_connect_is_raised_and_no_thread_waits_for_it() -> None:
    def connect():  # type: ignore[no-untyped-def]
        raise ConnectionRefusedError("no")

    with pytest.raises(ConnectionRefusedError, match="no"):
        run(LOADS[0], connect, REQUEST, 0.02, 3)

"""What all connections of a server or client share: its drivers and their threads."""

from __future__ import annotations

from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.threads.driver import Driver
from npipe.rpc.threads.leader_follower import LeaderFollowerDriver
from npipe.rpc.threads.runtime import Runtime
from npipe.testing import memory_pair
from rpc.service import make_api


def runtime(**options: Any) -> Runtime:
    return Runtime(Dispatcher(make_api()), rpc.Limits(depth=7), "ndjson", **options)


@pytest.mark.parametrize("kind", [Driver, LeaderFollowerDriver])
def test_a_driver_has_a_session_of_its_own_with_the_shared_limits(kind: type[Driver]) -> None:
    shared, ends = runtime(role="client"), []
    ours, theirs = memory_pair()
    driver = shared.open(ours, 3, lambda driver, reason: ends.append(reason), kind=kind)
    with theirs:
        assert type(driver) is kind
        session = driver.session
        assert (session.name, session.connection_id) == ("npipe-client-000003", 3)
        assert session.limits.depth == 7
        assert session.framing is not shared.codec.frame(max_bytes=1, max_depth=1)
        driver.close("for a reason")
        driver.close("again")
    assert ends == ["for a reason"]
    shared.stop()


def test_the_loop_is_started_once_and_ends_with_the_rest() -> None:
    shared = runtime()
    shared.start_loop()
    loop = shared._loop
    shared.start_loop()
    assert shared._loop is loop is not None
    shared.stop()
    shared.stop()

"""The names under which calls are counted, and the log."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pytest

from npipe.rpc.session.statistics import Statistics
from npipe.rpc.session.timing import OTHER
from npipe.rpc.wire.json_encoding import JSON


@dataclass
class Call:
    id: bytes = b"7"
    code: int = 0
    trace: bytes = b""


def test_calls_are_counted_by_method() -> None:
    statistics = Statistics(17, JSON(), log_calls=False)
    statistics.measure("a", 0.5)
    statistics.measure("a", 0.25)
    statistics.measure("b", 0.0)
    assert {name: timing.calls for name, timing in statistics.timings.items()} == {"a": 2, "b": 1}
    assert statistics.timings["a"].seconds == 0.75


def test_a_code_is_counted_for_its_method_and_not_as_another_error() -> None:
    statistics = Statistics(17, JSON(), log_calls=False)
    statistics.count_error("a", -32003)
    assert statistics.timings["a"].errors == {-32003: 1}
    assert statistics.errors == 0


def test_a_name_that_a_client_made_up_is_counted_with_all_others() -> None:
    statistics = Statistics(17, JSON(), log_calls=False)
    statistics.refuse(-32601, "nonsense")
    statistics.refuse(-32700)
    statistics.refuse(-32602, "a", is_method=True)
    assert statistics.errors == 3
    assert {name: timing.errors for name, timing in statistics.timings.items()} == {
        OTHER: {-32601: 1, -32700: 1},
        "a": {-32602: 1},
    }


@pytest.mark.parametrize("log_calls", [True, False])
def test_calls_are_logged_if_they_should_be(
    log_calls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    statistics = Statistics(17, JSON(), log_calls=log_calls)
    with caplog.at_level(logging.INFO, "npipe.rpc.calls"):
        statistics.measure("a", 0.001, Call())
        statistics.measure("inline", 0.001)  # it ran before it could be logged
        statistics.refuse(-32601, "b", b"8")
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[2] for line in lines] == (["method=a", "method=b"] if log_calls else [])

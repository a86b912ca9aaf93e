"""The time limit of one call."""

from __future__ import annotations

import math
from typing import Any

import pytest

from npipe.rpc.calling.deadline import MAX_SECONDS, Deadline, check_timeout


@pytest.mark.parametrize("seconds", [None, 0, 0.0, 1, 2.5, MAX_SECONDS])
def test_what_can_be_waited_for(seconds: float | None) -> None:
    assert check_timeout(seconds) == seconds


@pytest.mark.parametrize("seconds", [math.nan, -1, -0.001, -math.inf])
def test_less_than_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="reconnect must be 0 seconds or more"):
        check_timeout(seconds, "reconnect")


@pytest.mark.parametrize("seconds", [math.inf, 1e10, 10**400])
def test_for_ever_is_spelled_none(seconds: float) -> None:
    with pytest.raises(ValueError, match="None stands for no limit"):
        check_timeout(seconds)


@pytest.mark.parametrize("seconds", ["1", True, 1j, [1]])
def test_what_is_no_number_is_refused(seconds: Any) -> None:
    with pytest.raises(TypeError, match="a number of seconds or None"):
        check_timeout(seconds)


def test_one_deadline_for_several_waits() -> None:
    deadline = Deadline(2, now=100.0)
    assert deadline.end == 102.0
    assert deadline.left(101.5) == 0.5
    assert deadline.left(103.0) == 0.0
    assert str(deadline.expired("no answer")) == "no answer within 2 seconds"


def test_no_deadline() -> None:
    assert Deadline(None, now=5.0).end is None
    assert Deadline(None, now=5.0).left(1e9) is None

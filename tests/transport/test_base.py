"""npipe.transport.base: what may be a deadline and a timeout, and what a connection refuses."""

from __future__ import annotations

import copy
import io
import pickle
import time

import pytest

from npipe.transport import base
from npipe.transport.memory import memory_pair

WEEK = 7 * 86400.0


@pytest.fixture
def _long_after_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npipe.transport.base.time.monotonic", lambda: WEEK)


@pytest.mark.usefixtures("_long_after_boot")
def test_t19_a_duration_is_no_deadline() -> None:
    for when in (0.001, 5, 86399):
        with pytest.raises(ValueError, match=r"give time\.monotonic\(\) \+ "):
            base.deadline(when)


@pytest.mark.usefixtures("_long_after_boot")
@pytest.mark.parametrize("when", [None, 0, -1, WEEK - 86399, 86401, WEEK + 5, 1e18, float("inf")])
def test_an_instant_is_a_deadline_whether_past_or_far_away(when: float | None) -> None:
    assert base.deadline(when) == when


@pytest.mark.usefixtures("_long_after_boot")
def test_t19_a_time_of_day_is_no_deadline() -> None:
    with pytest.raises(ValueError, match=r"one of time\.time"):
        base.deadline(time.time() + 5)


def test_t19_nan_is_no_deadline() -> None:
    with pytest.raises(ValueError, match="not NaN"):
        base.deadline(float("nan"))
    with pytest.raises(TypeError):
        base.deadline("soon")  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), -float("inf")])
def test_t19_a_timeout_is_a_number_of_seconds(timeout: float) -> None:
    with pytest.raises(ValueError, match="or None to wait for ever"):
        base.duration(timeout)


def test_a_timeout_may_be_none_or_negative() -> None:
    assert [base.duration(each) for each in (None, 0, 5, -3)] == [None, 0, 5, 0]


def test_a_mode_is_one_of_three() -> None:
    for mode in base.MODES:
        base.require_mode(mode)
    with pytest.raises(ValueError, match="as seen from this end"):
        base.require_mode("wr")


def test_t16_a_connection_cannot_be_copied_or_pickled() -> None:
    ours, theirs = memory_pair()
    with ours, theirs:
        for call in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot copy or pickle 'MemoryConnection' object"):
                call(ours)


def test_what_a_backend_has_not_is_refused() -> None:
    ours, theirs = memory_pair()
    with ours, theirs:
        for call in (ours.detach, lambda: ours.read_now(1), lambda: ours.write_now(b"x")):
            with pytest.raises(io.UnsupportedOperation):
                call()

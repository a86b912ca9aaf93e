"""What may be a deadline, a timeout and a mode."""

from __future__ import annotations

import array
import time
from typing import Any

import pytest

from npipe.transport import checks

WEEK = 7 * 86400.0


@pytest.fixture
def _long_after_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("npipe.transport.checks.time.monotonic", lambda: WEEK)


@pytest.mark.usefixtures("_long_after_boot")
def test_t19_a_duration_is_no_deadline() -> None:
    for when in (0.001, 5, 86399):
        with pytest.raises(ValueError, match=r"give time\.monotonic\(\) \+ "):
            checks.deadline(when)


@pytest.mark.usefixtures("_long_after_boot")
@pytest.mark.parametrize("when", [None, 0, -1, WEEK - 86399, 86401, WEEK + 5, 1e18, float("inf")])
def test_an_instant_is_a_deadline_whether_past_or_far_away(when: float | None) -> None:
    assert checks.deadline(when) == when


@pytest.mark.usefixtures("_long_after_boot")
def test_t19_a_time_of_day_is_no_deadline() -> None:
    with pytest.raises(ValueError, match=r"one of time\.time"):
        checks.deadline(time.time() + 5)


def test_t19_nan_is_no_deadline() -> None:
    with pytest.raises(ValueError, match="not NaN"):
        checks.deadline(float("nan"))
    with pytest.raises(TypeError):
        checks.deadline("soon")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "timeout",
    [float("nan"), float("inf"), -float("inf"), pytest.param(10**400, id="huge")],
)
def test_t19_a_timeout_is_a_number_of_seconds(timeout: float) -> None:
    with pytest.raises(ValueError, match="or None to wait for ever"):
        checks.duration(timeout)


@pytest.mark.parametrize("timeout", ["5", True])
def test_a_timeout_of_another_type_is_refused_by_name(timeout: Any) -> None:
    name = type(timeout).__name__
    with pytest.raises(TypeError, match=f"number of seconds or None, not {name}"):
        checks.duration(timeout)


def test_a_timeout_may_be_none_or_negative() -> None:
    assert [checks.duration(each) for each in (None, 0, 5, -3)] == [None, 0, 5, 0]


def test_a_mode_is_one_of_three() -> None:
    for mode in checks.MODES:
        checks.require_mode(mode)
    with pytest.raises(ValueError, match="as seen from this end"):
        checks.require_mode("wr")


@pytest.mark.parametrize("shape", [[6], [2, 3], [1, 2, 3]])
def test_flat_view_counts_bytes_and_keeps_nothing(shape: list[int]) -> None:
    buffer = bytearray(b"abcdef")
    for part, size in ((slice(None), 6), (slice(0), 0)):
        with memoryview(buffer).cast("B", shape) as square, checks.flat_view(square[part]) as view:
            assert view == b"abcdef"[:size]
    buffer.clear()
    with checks.flat_view(array.array("I", [1, 2])) as view:
        assert len(view) == 2 * array.array("I").itemsize


def test_flat_view_refuses_what_is_not_contiguous_and_keeps_nothing() -> None:
    buffer = bytearray(6)
    with memoryview(buffer)[::2] as every_other, pytest.raises(TypeError) as refused:
        checks.flat_view(every_other)
    with pytest.raises(TypeError):
        checks.flat_view("text")  # type: ignore[arg-type]
    assert refused.value
    buffer.clear()

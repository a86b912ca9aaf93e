"""npipe.testing.buffer_cases: each fails a connection that breaks its promise."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from testing.broken import Broken, assert_found


class KeepsViews(Broken):
    views: ClassVar[list[memoryview]] = []

    def write(self, data: Any, /) -> int:
        self.views.append(memoryview(data))
        return super().write(data)


class KeepsViewsOfErrors(Broken):
    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)  # in the frame that the traceback refers to
        return super().readinto(view)


class WaitsForNothing(Broken):
    def readinto(self, buffer: Any, /) -> int:
        data = self.read(max(memoryview(buffer).nbytes, 1))
        memoryview(buffer).cast("B")[: len(data)] = data
        return len(data)


class CountsItems(Broken):
    def write(self, data: Any, /) -> int:
        super().write(data)
        return len(data)


class MiscountsInterruptedWrites(Broken):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except Exception:
            raise
        except BaseException as error:
            error.characters_written = 0  # type: ignore[attr-defined]
            raise


class ForgetsInterruptedWrites(Broken):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except Exception:
            raise
        except BaseException as error:
            del error.characters_written  # type: ignore[attr-defined]
            raise


@pytest.mark.parametrize(
    ("broken", "case"),
    [
        (KeepsViews, "buffers_are_released"),
        (KeepsViewsOfErrors, "buffers_are_released"),
        (WaitsForNothing, "buffers_of_any_shape"),
        (CountsItems, "buffers_of_any_shape"),
        (MiscountsInterruptedWrites, "interrupted_write"),
        (ForgetsInterruptedWrites, "interrupted_write"),
    ],
)
def test_a_broken_promise_is_found(broken: type[Broken], case: str) -> None:
    assert_found(broken, case)

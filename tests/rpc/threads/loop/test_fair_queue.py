"""Tests of npipe.rpc.threads.loop.fair_queue."""

from __future__ import annotations

from functools import partial

import pytest

from npipe.rpc.threads.loop.fair_queue import FairQueue

JOBS = {name: partial(str, name) for name in ("a1", "a2", "a3", "b1", "b2", "first", "second")}


def taken(queue: FairQueue) -> list[object]:
    return [queue.take()() for _ in range(len(queue))]


def test_each_owner_has_one_turn_in_a_round() -> None:
    queue = FairQueue()
    for name in ("a1", "a2", "a3", "b1", "b2"):
        queue.put(name[0], JOBS[name])
    assert len(queue) == 5
    assert taken(queue) == ["a1", "b1", "a2", "b2", "a3"]
    with pytest.raises(IndexError):
        queue.take()
    assert len(queue) == 0


def test_an_urgent_job_comes_before_all_others_and_the_last_one_first() -> None:
    queue = FairQueue()
    queue.put("a", JOBS["a1"])
    queue.put_first(JOBS["second"])
    queue.put_first(JOBS["first"])
    assert taken(queue) == ["first", "second", "a1"]


def test_a_job_that_is_taken_back_never_was() -> None:
    queue = FairQueue()
    queue.put("a", JOBS["a1"])
    queue.put("a", JOBS["a2"])
    queue.put("b", JOBS["b1"])
    queue.put_first(JOBS["first"])
    queue.take_back("a")
    queue.take_back("b")
    queue.take_back_first()
    assert taken(queue) == ["a1"]

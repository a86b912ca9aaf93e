"""The counters of workers, asked for over a socket pair. Both ends are in this process."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from npipe import rpc
from npipe.cli.serving import worker_stats
from npipe.cli.serving.worker_stats import WorkerStats, add_up_workers


def report(calls: int) -> dict[str, Any]:
    with rpc.Server(rpc.API()) as server:
        return {**server.stats(), "calls": calls}


class Worker:
    """What a fork would share, with the worker's half moved to an object of its own."""

    def __init__(self, calls: int) -> None:
        self.asked = WorkerStats()
        self.own = WorkerStats()
        self.own.close()
        self.own._answering = self.asked._answering.dup()
        self.calls = calls
        self.go = threading.Event()
        self.go.set()
        self.asked.forked()
        self.own.answer(self.stats)

    def stats(self) -> dict[str, Any]:
        assert self.go.wait(30)
        return report(self.calls)

    def end(self) -> None:
        self.go.set()
        self.asked.close()
        self.own.close()


def test_the_sum_over_workers() -> None:
    workers = [Worker(1), Worker(20)]
    for _ in range(3):
        assert add_up_workers([each.asked for each in workers])["calls"] == 21
    for each in workers:
        each.end()


def test_one_that_does_not_answer_keeps_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker(5)
    assert worker.asked.ask() is not None
    monkeypatch.setattr(worker_stats, "PATIENCE", 0.01)
    worker.go.clear()
    worker.calls = 6
    late = worker.asked.ask()
    assert late is not None and late["calls"] == 5
    monkeypatch.undo()
    worker.go.set()
    now = worker.asked.ask()  # not the answer that came too late
    assert now is not None and now["calls"] == 6
    worker.end()


def test_one_that_never_answered_is_left_out() -> None:
    dead = WorkerStats()
    dead.forked()
    assert dead.ask() is None
    assert add_up_workers([dead])["calls"] == 0
    dead.close()

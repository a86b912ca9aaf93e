"""Tests of npipe.rpc.threads.slow_calls: slow calls are found; idle monitors sleep."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

from npipe.rpc.threads.slow_calls import ConcurrencyLimits, SlowCallMonitor


class Stuck:
    """A link whose call does not end."""

    def __init__(self) -> None:
        self.progress = 5
        self.taken = threading.Event()

    def take_over(self, progress: int) -> None:
        assert progress == 5
        self.taken.set()


class Busy(Stuck):
    """A link whose calls end, one after the other."""

    @property  # type: ignore[override]
    def progress(self) -> int:
        return time.monotonic_ns()

    @progress.setter
    def progress(self, value: int) -> None:
        pass


def test_a_link_without_progress_is_taken_over() -> None:
    watch, stuck, busy = SlowCallMonitor(), Stuck(), Busy()
    watch.busy |= {stuck, busy}
    watch.wake()
    assert stuck.taken.wait(60)
    assert not busy.taken.is_set()
    watch.stop()


def test_it_sleeps_while_nothing_runs_and_wakes_again() -> None:
    watch, stuck = SlowCallMonitor(), Stuck()
    watch.wake()
    deadline = time.monotonic() + 10
    while watch.awake:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    watch.busy.add(stuck)
    watch.wake()
    assert stuck.taken.wait(60)
    watch.stop()


def test_gates_are_one_for_each_method() -> None:
    from npipe.rpc.service.api import API, method

    api = API()
    api.register("x", {"two": method(concurrency=2)(lambda: 1), "one": lambda: 2})
    concurrency = ConcurrencyLimits()
    two = concurrency.of(api.methods["x_two"])
    assert concurrency.of(api.methods["x_two"]) is two
    assert two.acquire(blocking=False)
    assert two.acquire(blocking=False)
    assert not two.acquire(blocking=False)


def test_the_face_for_threads_imports_neither_asyncio_nor_subprocess() -> None:
    code = "import sys, npipe.rpc; sys.exit(bool({'asyncio', 'subprocess'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)

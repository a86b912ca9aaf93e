"""Tests of npipe.rpc.threads.slow_calls: slow calls are found, and no wake-up is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from npipe.rpc.threads import slow_calls
from npipe.rpc.threads.slow_calls import SlowCallMonitor

SECONDS = 60


class Stuck:
    """A driver whose call does not end."""

    def __init__(self) -> None:
        self.busy = True
        self.found = threading.Event()

    def look(self) -> None:
        self.found.set()


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowCallMonitor]:
    """A monitor that sleeps as soon as nothing is busy."""
    monkeypatch.setattr(slow_calls, "IDLE_ROUNDS", 0)
    monitor = SlowCallMonitor()
    yield monitor
    monitor.stop()
    if monitor._thread is not None:
        monitor._thread.join(SECONDS)
        assert not monitor._thread.is_alive()


def wait_until(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(SECONDS * 1000):
        if condition():
            return
        waited.wait(0.001)
    raise AssertionError("it did not happen in time")


def test_what_is_busy_is_looked_at(monitor: SlowCallMonitor) -> None:
    stuck, idle = Stuck(), Stuck()
    idle.busy = False
    monitor.add(idle)
    monitor.add(stuck)
    assert stuck.found.wait(SECONDS)
    assert not idle.found.is_set()
    monitor.discard(stuck)


def test_it_sleeps_while_nothing_runs_and_wakes_again(monitor: SlowCallMonitor) -> None:
    monitor.wake()
    wait_until(lambda: not monitor.awake)
    stuck = Stuck()
    monitor.add(stuck)
    assert stuck.found.wait(SECONDS)
    assert monitor.awake


def test_a_call_that_begins_as_the_monitor_goes_to_sleep_wakes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The monitor has said that it sleeps; before it does, a short call begins and ends in another
    # thread. Then it slept for good, with ``awake`` true, and nothing woke it again.
    monkeypatch.setattr(slow_calls, "IDLE_ROUNDS", 0)
    short, over = Stuck(), threading.Event()

    def run_a_short_call(monitor: SlowCallMonitor) -> None:
        monitor.add(short)
        monitor.discard(short)
        over.set()

    class Hooked(SlowCallMonitor):
        _awake, _hooked = False, False

        @property  # type: ignore[override]
        def awake(self) -> bool:
            return self._awake

        @awake.setter
        def awake(self, on: bool) -> None:
            was, self._awake = self._awake, on
            if was and not on and not self._hooked:
                self._hooked = True
                threading.Thread(target=run_a_short_call, args=(self,), daemon=True).start()
                over.wait(0.2)  # it may have to wait for the monitor: then it ends after that

    monitor = Hooked()
    monitor.wake()
    assert over.wait(SECONDS)
    stuck = Stuck()
    monitor.add(stuck)
    assert stuck.found.wait(SECONDS)
    monitor.stop()


def test_a_call_that_begins_just_before_the_monitor_goes_to_sleep_is_seen(
    monitor: SlowCallMonitor,
) -> None:
    # It sees that the monitor is awake, so it does not wake it.
    stuck, changed = Stuck(), monitor._changed

    class Hooked:
        def __enter__(self) -> None:
            if threading.current_thread() is monitor._thread:
                monitor._running.add(stuck)
            changed.__enter__()

        def __exit__(self, *exc: object) -> None:
            changed.__exit__(None, None, None)

        wait, notify, notify_all = changed.wait, changed.notify, changed.notify_all

    monitor._changed = Hooked()  # type: ignore[assignment]
    monitor.wake()
    assert stuck.found.wait(SECONDS)


def test_stop_ends_its_thread_while_it_sleeps(monitor: SlowCallMonitor) -> None:
    monitor.wake()
    wait_until(lambda: not monitor.awake)


def test_after_stop_it_starts_no_thread() -> None:
    monitor = SlowCallMonitor()
    monitor.stop()
    monitor.add(Stuck())
    assert monitor._thread is None


def test_the_face_for_threads_imports_neither_asyncio_nor_subprocess() -> None:
    code = "import sys, npipe.rpc; sys.exit(bool({'asyncio', 'subprocess'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)

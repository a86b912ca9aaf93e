"""What every run of the tests is held to: it leaves no thread, descriptor, process or file behind.

What is there when the first test starts is compared with what is there after the last, when the
fixtures of the session are finished. A run that leaves something fails, and names it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# Seconds until what is about to end has ended. An idle worker of npipe ends after 10 seconds, and a
# child process that does not end by itself a few seconds after its connection.
GRACE = 20.0

# On a busy machine an example takes longer than any deadline, and so does drawing it.
hypothesis.settings.register_profile(
    "npipe",
    hypothesis.settings(),  # the profile of this environment
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("npipe")

_FILES = pytest.StashKey[Path]()
_BEFORE = pytest.StashKey["Counter[str]"]()
_LEFT = pytest.StashKey["Counter[str]"]()
_SINCE: weakref.WeakKeyDictionary[threading.Thread, str] = weakref.WeakKeyDictionary()


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the process: temporary files in a folder of its own, and no signal ignored."""
    config.stash[_BEFORE] = Counter()
    if sys.platform == "win32":  # its programs look at TEMP and TMP
        return
    # Under nohup or in the background of a script these are ignored, and programs that the tests
    # start inherit that; of a signal with a handler they inherit nothing.
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # tmp_path stays there
    config.stash[_FILES] = Path(tempfile.mkdtemp(prefix="np"))  # a socket's path must be short
    config.stash[_FILES].chmod(0o1777)  # as /tmp: some tests act as another user
    os.environ["TMPDIR"] = tempfile.tempdir = str(config.stash[_FILES])


def pytest_unconfigure(config: pytest.Config) -> None:
    if _FILES in config.stash:
        shutil.rmtree(config.stash[_FILES], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    with contextlib.suppress(ImportError):  # the first loop makes a pipe for the whole process
        import uvloop

        uvloop.new_event_loop().close()
    session.config.stash[_BEFORE] = census(session.config)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    before = session.config.stash[_BEFORE]
    end = time.monotonic() + GRACE
    left = census(session.config) - before
    while left and time.monotonic() < end:
        time.sleep(0.05)
        left = census(session.config) - before
    session.config.stash[_LEFT] = left
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _place(record_testsuite_property: Callable[[str, object], None]) -> None:
    """Say in the JUnit report where it comes from; tools/supported.py reads it."""
    system = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    if sys.platform == "win32":
        from windows_steps import report

        system = "Windows under Wine" if report.is_wine() else system
    free = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else "t"
    record_testsuite_property("system", f"{system}, {platform.machine()}")
    record_testsuite_property("python", platform.python_version() + free)
    with contextlib.suppress(ImportError):
        from npipe.rpc import COMPILED

        record_testsuite_property("build", "compiled" if COMPILED else "pure")


def pytest_runtest_logfinish(nodeid: str) -> None:
    for thread in threading.enumerate():
        _SINCE.setdefault(thread, nodeid)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left = terminalreporter.config.stash.get(_LEFT, Counter())
    if left:
        terminalreporter.section("left behind by the tests", red=True)
    for what, number in sorted(left.items()):
        terminalreporter.line(f"{number} {what}")
    for thread in threading.enumerate():
        if f"thread {thread.name}" in left and thread in _SINCE:
            terminalreporter.line(f"thread {thread.name} was there after {_SINCE[thread]}")


def census(config: pytest.Config) -> Counter[str]:
    """Count what there is, by what it is."""
    gc.collect()
    counts = Counter(f"thread {thread.name}" for thread in threading.enumerate())
    if sys.platform == "linux":
        counts.update(descriptors())
        counts.update(children())
    if _FILES in config.stash:
        counts.update(f"file {path.name}" for path in config.stash[_FILES].iterdir())
    return counts


def descriptors() -> list[str]:
    """Return what each descriptor of this process is of; the number of a socket does not count."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one that lists
            continue
        found.append(f"descriptor of {target.partition(':[')[0]}")
    return found


def children() -> list[str]:
    """Return the command of each process that a thread of this process has started."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
        except FileNotFoundError:  # the thread has ended
            continue
        for pid in pids:
            try:
                command = Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" ")
            except FileNotFoundError:
                continue
            found.append(f"process {command.decode(errors='replace')[:100].strip() or '(zombie)'}")
    return found

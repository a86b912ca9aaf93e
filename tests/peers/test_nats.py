"""Workers at a real NATS broker, and a front for ordinary clients: what each fault costs.

Every program is a process of its own. Each call writes its number to a file when it is executed,
so that a promise can be checked: ``maybe_executed`` false means that it was not, and nothing is
ever executed twice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

if "nats" not in os.environ.get("NPIPE_REQUIRE", "").split(",") or sys.platform == "win32":
    pytest.importorskip("nats", reason="nats-py is not installed")

from npipe import rpc
from peers.brokers import Broker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no nats-server for Windows here")
SOURCE = Path(__file__).parents[2] / "src"
LAB = """
import asyncio, os, time
from npipe import rpc
_log = os.open("executed", os.O_APPEND | os.O_CREAT | os.O_WRONLY)
class Lab:
    async def once(self, number: int, seconds: float = 0.0) -> int:
        os.write(_log, b"%d\\n" % number)
        await asyncio.sleep(seconds)
        return os.getpid()
    def pid(self) -> int:
        return os.getpid()
    def big(self, size: int) -> str:
        return "x" * size
    @rpc.subscription
    def ticks(self):
        while True:
            yield os.getpid()
            time.sleep(0.05)
"""


PROGRAM = "from npipe.cli import main; main()"
#: It gives a worker up after 2 seconds without a sign of life, not ten.
IMPATIENT = (
    "from npipe.integrations.nats import Workers; "
    f"Workers.__init__.__kwdefaults__['silence'] = 2; {PROGRAM}"
)


class Site:
    """A broker, and the programs around it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.broker = Broker(directory)
        stack.callback(self.broker.kill)
        self._stack = stack
        (directory / "lab.py").write_text(LAB)
        (directory / "executed").touch()

    def start(self, *arguments: str, program: str = PROGRAM) -> subprocess.Popen[str]:
        """Start ``npipe serve``."""
        process = subprocess.Popen(
            [sys.executable, "-c", program, "serve", *arguments, "--json"],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": f"{SOURCE}:{self.directory}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.callback(end, process)
        return process

    @staticmethod
    def wait(process: subprocess.Popen[str]) -> None:
        """Wait until it is ready."""
        assert process.stdout is not None
        assert process.stdout.readline(), process.communicate()[1]

    def workers(self, count: int, *options: str) -> list[subprocess.Popen[str]]:
        arguments = (self.broker.url(), "--api", "lab=lab:Lab", *(options or ("--stateless",)))
        started = [self.start(*arguments) for _ in range(count)]
        for process in started:
            self.wait(process)
        return started

    def front(self, program: str = PROGRAM) -> str:
        address = str(self.directory / "s")
        self.wait(self.start(address, "--upstream", self.broker.url(), program=program))
        return address

    def executed(self) -> Counter[int]:
        return Counter(map(int, (self.directory / "executed").read_text().split()))


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.communicate()


@pytest.fixture
def site(directory: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(directory, stack)


class Load:
    """Many calls at a time through a front, and how each ended, by number."""

    def __init__(
        self, address: str, calls: int, seconds: float, *, at_once: int = 32, first: int = 0
    ) -> None:
        self.outcomes: dict[int, int | rpc.RPCError] = {}
        self._client = rpc.connect(address, timeout=60)
        self._seconds = seconds
        self._numbers = iter(range(first, first + calls))
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._work) for _ in range(at_once)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while True:
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            try:
                self.outcomes[number] = self._client.call("lab_once", number, self._seconds)
            except rpc.RPCError as error:
                self.outcomes[number] = error

    def wait_for(self, calls: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.outcomes) < calls and time.monotonic() < deadline:
            time.sleep(0.005)

    def finish(self, executed: Callable[[], Counter[int]]) -> list[rpc.RPCError]:
        """Wait for the end, check every promise, and return the errors."""
        for thread in self._threads:
            thread.join()
        self._client.close()
        found = executed()
        assert set(found.values()) == {1}  # nothing was executed twice
        errors = []
        for number, outcome in self.outcomes.items():
            if isinstance(outcome, rpc.RPCError):
                errors.append(outcome)
                assert outcome.code == -32000
                assert outcome.data["maybe_executed"] or number not in found
            else:
                assert number in found
        return errors


def test_one_client_uses_all_workers_and_they_are_listed(site: Site) -> None:
    workers = site.workers(3)
    with rpc.connect(site.front(), timeout=60) as client:
        found = Counter(client.batch([("lab_once", [at, 0.01]) for at in range(60)]))
        assert found.keys() == {worker.pid for worker in workers}
        assert min(found.values()) >= 15
        ticks = client.subscribe("lab", "ticks")
        assert next(ticks) in found
        ticks.close()
    command = [sys.executable, "-m", "npipe.cli", "ls", site.broker.url(""), "--json"]
    env = {**os.environ, "PYTHONPATH": str(SOURCE)}
    listed = json.loads(subprocess.check_output(command, env=env, timeout=60))
    assert {int(each["pid"]) for each in listed} == found.keys()
    assert sum(each["calls"] for each in listed) >= 60


def test_a_worker_that_stops_loses_nothing_and_a_killed_one_its_own_calls(site: Site) -> None:
    workers = site.workers(3)
    front = site.front()
    load = Load(front, 300, 0.02)
    load.wait_for(60)
    workers[0].terminate()
    assert load.finish(site.executed) == []
    assert workers[0].wait(30) == 0
    load = Load(front, 300, 0.02, first=1000)
    load.wait_for(60)
    workers[1].kill()
    errors = load.finish(site.executed)
    assert len(errors) <= 32
    assert all(error.data["maybe_executed"] for error in errors)


def test_a_worker_that_hangs_is_given_up(site: Site) -> None:
    """The calls of the other worker go on meanwhile."""
    workers = site.workers(2)
    load = Load(site.front(IMPATIENT), 120, 0.01, at_once=8)
    load.wait_for(30)
    workers[0].send_signal(signal.SIGSTOP)
    errors = load.finish(site.executed)
    assert 1 <= len(errors) <= 8
    assert all(error.data["maybe_executed"] for error in errors)


def test_a_broker_that_is_killed_and_comes_back(site: Site) -> None:
    site.workers(2)
    front = site.front()
    load = Load(front, 400, 0.02)
    load.wait_for(60)
    site.broker.kill()
    with rpc.connect(front, timeout=60) as client:
        began = time.monotonic()
        with pytest.raises(rpc.RPCError) as caught:
            client.call("lab_once", 10_000)
        assert time.monotonic() - began < 5
        assert caught.value.data["maybe_executed"] is False
        errors = load.finish(site.executed)
        assert errors
        assert 10_000 not in site.executed()
        site.broker.start()
        deadline = time.monotonic() + 30
        while True:  # in service again by itself
            try:
                client.call("lab_once", 10_001)
                break
            except rpc.RPCError as error:
                assert error.data["maybe_executed"] is False
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert site.executed()[10_001] == 1


def test_large_replies_and_a_client_that_does_not_read(site: Site) -> None:
    site.workers(1)
    front = site.front()
    size = 20_000_000
    with rpc.connect(front, timeout=60) as lazy, rpc.connect(front, timeout=60) as client:
        assert len(client.call("lab_big", size)) == size
        replies: list[str] = []
        calls = [("lab_big", [2 << 20])] * 8
        thread = threading.Thread(target=lambda: replies.extend(lazy.batch(calls)))
        thread.start()
        for _ in range(20):
            client.call("lab_pid")
        thread.join()
    assert [len(reply) for reply in replies] == [2 << 20] * 8


def test_clients_of_workers_with_a_state_are_bound(site: Site) -> None:
    workers = site.workers(2, "--log-level", "warning")  # one with --stateless changes nothing
    site.workers(1)
    front = site.front()
    with rpc.connect(front, timeout=60) as client:
        (pid,) = set(client.batch([("lab_pid", [])] * 12))
        for worker in workers:
            if worker.pid == pid:
                worker.kill()
                with pytest.raises(rpc.ConnectionLost):
                    for _ in range(3):
                        client.call("lab_pid")


def test_a_client_at_the_broker_itself(site: Site) -> None:
    (worker,) = site.workers(1)
    with rpc.connect(site.broker.url(), timeout=60) as client:
        assert client.call("lab_pid") == worker.pid
        worker.kill()
        with pytest.raises(rpc.ConnectionLost):
            client.call("lab_pid")
    with pytest.raises(ConnectionRefusedError, match="no worker serves"):
        rpc.connect(site.broker.url("nobody"))

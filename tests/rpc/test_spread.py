"""``rpc.Spread`` with threads, in front of programs: some of them are killed or stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.rpc import Spread
from npipe.transport.memory import memory_pair

SOURCE = Path(__file__).parents[2] / "src"
PROGRAM = """
import os, sys, time
import npipe
from npipe import rpc
class Shop:
    @rpc.method(concurrency=1)
    def order(self, number: int, seconds: float = 0.0) -> int:
        with open(sys.argv[2], "a") as log:
            log.write(f"{number}\\n")
        time.sleep(seconds)
        return os.getpid()
    def big(self, size: int) -> str:
        return "x" * size
    @rpc.subscription
    def ticks(self):
        yield os.getpid()
        while True:
            time.sleep(0.05)
            yield 0
api = rpc.API()
api.register("shop", Shop())
with rpc.Server(api) as server:
    server.serve(sys.argv[1])
    print(os.getpid(), flush=True)
    server.serve_forever()
"""


class Servers:
    """Programs that serve the same API, and the calls that they have executed."""

    def __init__(self, address: str, log: Path, number: int) -> None:
        self.addresses = [f"{address}{at}" for at in range(number)]
        self.log = log
        log.touch()
        env = {**os.environ, "PYTHONPATH": str(SOURCE)}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, each, str(log)], stdout=subprocess.PIPE, env=env
            )
            for each in self.addresses
        ]
        # Under Wine the process started is not always the one that runs the program.
        self.pids = [int(self._stdout(each).readline()) for each in self.processes]

    @staticmethod
    def _stdout(process: subprocess.Popen[bytes]) -> Any:
        assert process.stdout is not None
        return process.stdout

    def executed(self) -> Counter[int]:
        return Counter(map(int, self.log.read_text().split()))

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            self._stdout(process).close()


@pytest.fixture
def two(address: str, tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(address, tmp_path / "log", 2)
    yield servers
    servers.end()


@pytest.fixture
def front(address: str, two: Servers) -> Iterator[str]:
    """A front that spreads calls."""
    with Spread(two.addresses, stateless=True) as spread:
        spread.serve(address)
        yield address


def test_one_client_uses_both_servers(front: str, two: Servers) -> None:
    with rpc.connect(front, timeout=60) as client:
        found = Counter(client.batch([("shop_order", [at, 0.005]) for at in range(40)]))
    assert found.keys() == set(two.pids)
    assert min(found.values()) >= 15  # the least busy first


def test_a_client_that_is_bound_stays_and_goes_with_its_server(address: str, two: Servers) -> None:
    with Spread(two.addresses) as spread:
        spread.serve(address)
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(rpc.connect(address, timeout=60)) for _ in range(4)]
            pids = [{client.call("shop_order", 1) for _ in range(5)} for client in clients]
            assert Counter(map(len, pids)) == {1: 4}
            assert Counter(pid for (pid,) in pids) == dict.fromkeys(two.pids, 2)
            two.processes[0].kill()
            two.processes[0].wait()
            for client, (pid,) in zip(clients, pids, strict=True):
                if pid == two.pids[0]:
                    with pytest.raises((rpc.ConnectionLost, rpc.RPCError)) as caught:
                        client.call("shop_order", 2)
                    if isinstance(caught.value, rpc.RPCError):  # the end was on its way
                        assert caught.value.code == -32000
                else:
                    assert client.call("shop_order", 2) == pid
        with rpc.connect(address, timeout=60) as client:
            assert client.call("shop_order", 3) == two.pids[1]


def outcomes(front: str, calls: int, seconds: float) -> list[Any]:
    """Make calls, 32 at a time; return their results and errors by number."""
    found: list[Any] = [None] * calls
    numbers = iter(range(calls))
    lock = threading.Lock()

    def work(client: rpc.Client) -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                found[number] = client.call("shop_order", number, seconds)
            except rpc.RPCError as error:
                found[number] = error

    with rpc.connect(front, timeout=60) as client:
        threads = [threading.Thread(target=work, args=(client,)) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


def test_a_killed_server_costs_only_its_own_calls(front: str, two: Servers) -> None:
    killer = threading.Timer(0.3, two.processes[0].kill)
    killer.start()
    found = outcomes(front, 300, 0.005)
    killer.join()
    executed = two.executed()
    assert max(executed.values()) == 1  # nothing was executed twice
    lost = [each for each in found if isinstance(each, rpc.RPCError)]
    assert len(lost) <= 32  # what was under way, of both servers
    for number, outcome in enumerate(found):
        if isinstance(outcome, rpc.RPCError):
            assert outcome.code == -32000
            assert outcome.data["maybe_executed"] or number not in executed
        else:
            assert number in executed and outcome in two.pids


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process")
def test_a_server_that_hangs_costs_only_its_own_calls(front: str, two: Servers) -> None:
    with rpc.connect(front, timeout=60) as client:
        assert set(client.batch([("shop_order", [0])] * 8)) == set(two.pids)
        os.kill(two.pids[0], signal.SIGSTOP)
        os.waitpid(two.pids[0], os.WUNTRACED)  # until it has stopped
        try:
            hung = 0
            for number in range(30):
                try:
                    assert client.call("shop_order", number, timeout=1.0) == two.pids[1]
                except TimeoutError:
                    hung += 1
            assert hung == 1  # from then on it is the busier one
        finally:
            os.kill(two.pids[0], signal.SIGCONT)


def test_a_subscription_stays_and_ends_with_an_error(front: str, two: Servers) -> None:
    with rpc.connect(front, timeout=60) as client:
        ticks = client.subscribe("shop", "ticks")
        at = two.pids.index(next(ticks))
        other = two.pids[1 - at]
        # A subscription is load, so a call goes to the other server.
        assert client.call("shop_order", 1) == other
        two.processes[at].kill()
        with pytest.raises(rpc.RPCError, match="the server has ended"):
            list(ticks)
        assert client.call("shop_order", 1) == other


def test_a_client_that_does_not_read_holds_up_nobody(front: str) -> None:
    size = 1 << 20
    with rpc.connect(front, timeout=60) as lazy, rpc.connect(front, timeout=60) as client:
        results: list[Any] = []

        thread = threading.Thread(
            target=lambda: results.extend(lazy.batch([("shop_big", [size])] * 24))
        )
        thread.start()
        for number in range(20):
            client.call("shop_order", number)
        thread.join()
    assert [len(each) for each in results] == [size] * 24


def test_servers_in_this_process_and_programs_are_endpoints_too(address: str) -> None:
    api = rpc.API()
    api.register("shop", {"order": lambda: "here"})
    program = "from npipe import rpc; a = rpc.API(); a.register('shop', {'order': lambda: 'there'})"
    command = [sys.executable, "-c", f"{program}; rpc.Server(a).serve_stdio()"]
    os.environ.setdefault("PYTHONPATH", str(SOURCE))
    with rpc.Server(api) as server, Spread([server, command], stateless=True) as spread:
        with rpc.connect(spread, timeout=60) as client:
            found = client.batch([("shop_order", [])] * 8)
        assert set(found) == {"here", "there"}
        assert spread.stats()["calls"] == 8


def test_without_servers_it_is_refused_or_says_so(address: str) -> None:
    for wrong in ([], "address"):
        with pytest.raises(ValueError, match="at least one server"):
            Spread(wrong)
    for stateless in (True, False):
        with Spread([f"{address}-nobody"], stateless=stateless) as spread:
            at = f"{address}-{stateless}"
            spread.serve(at)
            with rpc.connect(at, timeout=60) as client:
                with pytest.raises((rpc.RPCError, rpc.ConnectionLost)) as caught:
                    client.call("shop_order", 1)
                if stateless:
                    assert caught.value.data == {"maybe_executed": False}  # type: ignore[union-attr]


def test_the_module_is_imported_when_it_is_used() -> None:
    code = "import sys, npipe.rpc; print('asyncio' in sys.modules); npipe.rpc.Spread"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
    with pytest.raises(AttributeError):
        _ = rpc.Spraed  # type: ignore[attr-defined]


def test_after_stop_nothing_more_is_served_and_the_counters_stay(address: str) -> None:
    spread = Spread([f"{address}-nobody"])
    spread.serve(address)
    before = spread.stats()
    spread.stop()
    ours, theirs = memory_pair()
    with ours, theirs, pytest.raises(npipe.ClosedError):
        spread.serve_connection(ours)
    with pytest.raises(npipe.ClosedError):
        spread.serve(address)
    assert spread.stats().keys() == before.keys()
    spread.stop()

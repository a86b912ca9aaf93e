"""``npipe serve --workers``: several processes on one socket, started and ended as one."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import npipe
from cli.conftest import Run
from npipe import rpc

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks")
Serve = Callable[..., Any]


@pytest.fixture
def two(directory: Path, address: str, serve: Serve) -> Callable[[], Any]:
    (directory / "who.py").write_text(
        "import os\ndef pid(): return os.getpid()\ndef slow(): return open('go').read()\n"
    )
    os.mkfifo(directory / "go")

    def begin() -> Any:
        process, ready = serve(address, "--api", "who", "--workers", "2")
        assert ready["address"] == address
        return process

    return begin


def workers(address: str) -> set[int]:
    """Connect until both processes have answered; return their ids."""
    found: set[int] = set()
    clients = []
    deadline = time.monotonic() + 30
    while len(found) < 2 and time.monotonic() < deadline:
        clients.append(rpc.connect(address, timeout=60))
        found.add(clients[-1].call("who_pid"))
    for client in clients:
        client.close()
    return found


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)  # an orphan's end is told to nobody
    return False


def test_both_serve_and_end_at_sigterm_with_no_socket_left(
    two: Callable[[], Any], address: str
) -> None:
    process = two()
    found = workers(address)
    assert len(found) == 2 and process.pid not in found
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert all(map(gone, found))
    assert not os.path.exists(address)


def test_a_call_in_flight_is_answered_at_the_end(
    two: Callable[[], Any], address: str, directory: Path
) -> None:
    process = two()
    with rpc.connect(address, timeout=60) as client:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor() as pool:
            answer = pool.submit(client.call, "who_slow")
            with open(directory / "go", "w") as go:  # opens once the function reads
                process.send_signal(signal.SIGTERM)
                go.write("gone")
            assert answer.result(60) == "gone"
    assert process.wait(60) == 0


def test_workers_end_when_the_first_process_is_killed(two: Callable[[], Any], address: str) -> None:
    process = two()
    found = workers(address)
    process.kill()
    process.wait(60)
    assert all(map(gone, found))


def test_one_that_ends_by_itself_ends_all(two: Callable[[], Any], address: str) -> None:
    process = two()
    first, second = workers(address)
    os.kill(first, signal.SIGKILL)
    assert process.wait(60) == 1
    assert gone(second)
    assert not os.path.exists(address)


def test_a_chain_is_served_by_one_process(address: str, run: Run) -> None:
    done = run("serve", address, "--workers", "2")
    assert done.returncode == 2
    assert "--workers needs --api" in done.stderr


def test_the_metrics_are_the_sums_over_all_workers(directory: Path, serve: Serve) -> None:
    (directory / "who.py").write_text("import os\ndef pid(): return os.getpid()\n")
    address, at = str(directory / "s"), str(directory / "m")
    serve(address, "--api", "who", "--workers", "2", "--metrics", at)
    calls = 0
    found: set[int] = set()
    deadline = time.monotonic() + 30
    while len(found) < 2 and time.monotonic() < deadline:
        with rpc.connect(address, timeout=60) as client:
            found.add(client.call("who_pid"))
            calls += 1
    assert len(found) == 2
    text = scrape(at)
    assert f'rpc_server_call_duration_seconds_count{{rpc_method="who_pid"}} {calls}\n' in text
    assert f"npipe_connections_total {calls}\n" in text
    os.kill(min(found), signal.SIGSTOP)  # it answers no more: its counters stay as they were
    try:
        assert f"npipe_connections_total {calls}\n" in scrape(at)
    finally:
        os.kill(min(found), signal.SIGCONT)


def scrape(address: str) -> str:
    with npipe.connect(address, connect_timeout=20) as connection:
        connection.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        data = b""
        while chunk := connection.read(65536):
            data += chunk
    return data.decode()

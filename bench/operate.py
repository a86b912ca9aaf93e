"""The costs of metrics, logs and traces, and of several processes, each against plain npipe.

Every program is a process of its own, and a raw client asks one function that does nothing; so a
row shows the whole cost of what stands in the way. The growth rows ask a function of 20 ms that
each process runs one at a time: as if it computed on a core of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from . import rawclient
from .harness import Table, measure
from .servers import Absent

ECHO, SERIAL = "lab_echo", "lab_serial"
GROWTH = (1, 2, 4, 8)


class Site:
    """Programs in a directory of their own, ended together."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="npb")))
        self.broker = ""
        self.pids: dict[str, int] = {}  # by address, of the servers

    def address(self, name: str) -> str:
        return str(self.directory / name)

    def start(self, *command: str, ready: str = "") -> int:
        """Start a program; wait until it listens at ``ready``, a socket's path or a port.

        Return its process id.
        """
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

        def end() -> None:
            process.kill()
            process.wait()

        self._stack.callback(end)
        deadline = time.monotonic() + 30
        while ready and not _listens(ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"did not start: {command}")
            time.sleep(0.02)
        return process.pid

    def server(self, name: str, variant: str = "plain") -> str:
        address = self.address(name)
        command = (sys.executable, "-m", "bench.operate_server", address, variant)
        self.pids[address] = self.start(*command, ready=address)
        return address

    def npipe(self, *arguments: str, ready: str = "") -> None:
        self.start(sys.executable, "-m", "npipe.cli", *arguments, ready=ready)

    def nats(self) -> str:
        """The URL of a broker, started when it is first asked for."""
        if not self.broker:
            beside = Path(sys.executable).with_name("nats-server")
            program = str(beside) if beside.exists() else shutil.which("nats-server")
            if program is None:
                raise Absent("nats-server is not installed")
            with socket.create_server(("127.0.0.1", 0)) as probe:
                port = str(probe.getsockname()[1])
            self.start(program, "-a", "127.0.0.1", "-p", port, ready=port)
            self.broker = f"nats://127.0.0.1:{port}"
        return self.broker

    def workers(self, subject: str, count: int) -> str:
        """Start workers at the broker, and a front before them; return its address."""
        url = f"{self.nats()}/{subject}"
        for _ in range(count):
            self.start(sys.executable, "-m", "bench.operate_server", url, "plain")
        front = self.address(f"nats-{subject}")
        deadline = time.monotonic() + 60
        from npipe.integrations.nats import list_workers

        while sum(each["name"] == subject for each in list_workers(self.nats())) < count:
            if time.monotonic() > deadline:
                raise RuntimeError("the workers did not start")
        self.npipe("serve", front, "--upstream", url, ready=front)
        return front

    def spread(self, name: str, count: int) -> str:
        """Start servers, and a front before them; return its address."""
        servers = [self.server(f"{name}-{at}") for at in range(count)]
        front = self.address(name)
        upstreams = [word for each in servers for word in ("--upstream", each)]
        if count == 1:  # one upstream alone would be a proxy
            upstreams += ["--upstream", self.address("nobody")]
        self.npipe("serve", front, *upstreams, "--stateless", ready=front)
        return front


def _listens(ready: str) -> bool:
    try:
        if ready.isdecimal():
            socket.create_connection(("127.0.0.1", int(ready)), timeout=1).close()
        else:
            rawclient.dial(ready).close()
    except OSError:
        return False
    return True


def tables(rounds: int) -> Iterator[Table]:
    with contextlib.ExitStack() as stack:
        site = Site(stack)
        addresses = _addresses(site)
        absent: dict[str, str] = {}
        try:
            addresses["NATS: front, broker, worker"] = site.workers("cost", 1)
        except Absent as reason:
            absent["NATS: front, broker, worker"] = str(reason)
        for title, load, count in (
            ("one at a time", rawclient.sequential, 2000),
            ("64 in flight", rawclient.in_flight, 12000),
        ):
            yield measure(
                f"Cost of operating: {title}",
                "calls/s (more is better)",
                [(n, lambda a=a, r=load, c=count: r(a, ECHO, c)) for n, a in addresses.items()],
                reference="npipe",
                rounds=rounds,
                absent=absent,
            )
        yield measure(
            "Cost of operating: processor time of the server, 64 in flight",
            "us a call (less is better)",
            [
                (name, lambda a=address: _processor_time(a, site.pids[a]))
                for name, address in addresses.items()
                if address in site.pids
            ],
            reference="npipe",
            rounds=rounds,
            goal="counting costs at most 0.3 us a call",
        )
    yield from _growth(rounds)


def _addresses(site: Site) -> dict[str, str]:
    """Where each way of serving is."""
    scraped, url = site.address("scraped"), _free_url()
    (site.directory / "benchlab.py").write_text("from bench.operate_server import Lab\n")
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(site.directory), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    api = ("--api", "lab=benchlab:Lab", "--metrics", url.removeprefix("http://"))
    site.npipe("serve", scraped, *api, ready=scraped)
    threading.Thread(target=_scrape, args=(f"{url}/metrics",), daemon=True).start()
    plain = site.server("plain")
    addresses = {
        "npipe": plain,
        "npipe that does not count its calls": site.server("uncounted", "uncounted"),
        "scraped four times a second": scraped,
        "middleware that does nothing": site.server("middleware", "middleware"),
        "log of calls": site.server("log", "log-calls"),
    }
    with contextlib.suppress(ImportError):
        import opentelemetry.sdk  # noqa: F401

        addresses["traces, none sampled"] = site.server("none", "traces-none")
        addresses["traces, all sampled"] = site.server("all", "traces-all")
    relayed, recorded, proxied = map(site.address, ("relayed", "recorded", "proxied"))
    site.npipe("relay", relayed, plain, ready=relayed)
    tape = ("--record", site.address("tape.jsonl"))
    site.npipe("relay", recorded, plain, *tape, ready=recorded)
    site.npipe("serve", proxied, "--upstream", plain, ready=proxied)
    return addresses | {
        "relay": relayed,
        "relay that records": recorded,
        "proxy": proxied,
        "Spread, one server": site.spread("spread", 1),
    }


def _processor_time(address: str, pid: int, count: int = 40_000) -> float:
    """Microseconds that a server's threads run for each call (proc(5), schedstat)."""
    before = _nanoseconds(pid)
    rawclient.in_flight(address, ECHO, count)
    return (_nanoseconds(pid) - before) / count / 1000


def _nanoseconds(pid: int) -> int:
    total = 0
    for each in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # a thread that has ended
            total += int(each.read_text().split()[0])
    return total


def _growth(rounds: int) -> Iterator[Table]:
    with contextlib.ExitStack() as stack:
        site = Site(stack)
        fronts = {f"Spread, {count} servers": site.spread(f"s{count}", count) for count in GROWTH}
        with contextlib.suppress(Absent):
            for count in GROWTH:
                fronts[f"NATS, {count} workers"] = site.workers(f"g{count}", count)
        yield measure(
            "Growth: a function of 20 ms, 64 in flight on one connection",
            "calls/s (more is better)",
            [
                (name, lambda a=address, n=name: rawclient.in_flight(a, SERIAL, 40 * _count(n)))
                for name, address in fronts.items()
            ],
            reference="Spread, 1 servers",
            rounds=min(rounds, 3),
        )


def _count(name: str) -> int:
    return int(name.split()[1])


def _free_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def _scrape(url: str) -> None:
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).read()
        time.sleep(0.25)

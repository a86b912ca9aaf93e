"""Many connections that check every reply: each request carries a token that only its reply has.

One thread drives all connections of a ``Load``, so that a client costs the same for every server.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from . import rawclient

PATIENCE = 120.0  # seconds until a missing reply is a fault


class Fault(Exception):
    """A reply was lost, or belongs to another request."""


Kind = Callable[[int], tuple[bytes, dict[int, str]]]
"""Makes requests from the next free token: their bytes, and what each id must get as its result."""


def calls(method: str, number: int = 1, *, size: int = 0) -> Kind:
    """Return a kind of so many calls in one write; each token is padded to ``size`` characters."""

    def make(token: int) -> tuple[bytes, dict[int, str]]:
        due = {n: f"t{n}".ljust(size, "x") for n in range(token, token + number)}
        lines = [rawclient.request(method, n, f'["{text}"]') for n, text in due.items()]
        return b"".join(lines), due

    return make


def batch(method: str, number: int) -> Kind:
    """Return a kind of one batch of so many calls."""

    def make(token: int) -> tuple[bytes, dict[int, str]]:
        data, due = calls(method, number)(token)
        return b"[" + data.strip().replace(b"\n", b",") + b"]\n", due

    return make


class Client:
    """One connection, the bytes of an unfinished reply, and the results that are due."""

    def __init__(self, address: str) -> None:
        self.sock = dial(address)
        self.due: dict[int, str] = {}
        self.since = self.used = 0.0  # the times of the last request; see ``Load.waits``
        self._partial = b""

    def ask(self, data: bytes, due: dict[int, str], clock: int) -> None:
        self.due = due
        self.used = time.clock_gettime(clock)
        self.since = time.perf_counter()
        self.sock.sendall(data)

    def read(self) -> bool:
        """Check what has arrived; return whether nothing is due any more."""
        data = self.sock.recv(1 << 20)
        if not data:
            raise Fault(f"the server cut a client with {len(self.due)} calls unanswered")
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            for each in answer if isinstance(answer, list) else (answer,):
                if each.get("result") != self.due.pop(each["id"], None):
                    raise Fault(f"crossed or repeated: {line[:200]!r}")
        return not self.due


class Load:
    """A number of clients that ask one after the other, each after a pause."""

    def __init__(self, address: str, number: int, kinds: Sequence[Kind], *, pause: float = 0.0):
        """Connect.

        Args:
            address: The socket of the server.
            number: The number of connections.
            kinds: The requests to choose from.
            pause: The mean of a client's pauses, in seconds.
        """
        self.calls = 0  # answered
        self.latencies: list[float] = []  # of each exchange, in ms
        self.waits: list[float] = []  # the same, in ms of processor time of the server
        self._address = address
        self._kinds = kinds
        self._pause = pause
        self._random = random.Random(1)
        self._tokens = count(1)
        self._selector = selectors.DefaultSelector()
        self._clients = [self._connect() for _ in range(number)]
        self._resting: list[tuple[float, int, Client]] = []  # a heap, by the end of the pause
        self._numbers = count()
        self._clock = (~self.server << 3) | 2  # the server's clock, as clock_getcpuclockid(3)

    def run(self, seconds: float) -> None:
        """Keep the clients busy for a time; then wait until all replies have come."""
        begun, busy = time.perf_counter(), 0
        end = begun + seconds
        self._resting.clear()
        for client in self._clients:
            self._rest(client, begun)
        while busy or time.perf_counter() < end:
            now = time.perf_counter()
            if now > end + PATIENCE:
                due = sum(len(client.due) for client in self._clients)
                raise Fault(f"lost: {due} replies have not come after {PATIENCE:.0f} s")
            while self._resting and self._resting[0][0] <= now < end:
                self._ask(heapq.heappop(self._resting)[2])
                busy += 1
            next_one = min(self._resting[0][0], end) if self._resting and now < end else now + 1
            for key, _ in self._selector.select(max(0.0, next_one - now)):
                client: Client = key.data
                asked = len(client.due)
                if client.read():
                    now = time.perf_counter()
                    self.latencies.append((now - client.since) * 1000)
                    used = time.clock_gettime(self._clock) - client.used
                    self.waits.append(used * 1000)
                    busy -= 1
                    self._rest(client, now)
                self.calls += asked - len(client.due)

    def churn(self, share: float) -> None:
        """Replace a share of the connections by new ones. None may be busy."""
        for n in self._random.sample(range(len(self._clients)), int(len(self._clients) * share)):
            old = self._clients[n]
            self._selector.unregister(old.sock)
            old.sock.close()
            self._clients[n] = self._connect()

    def close(self) -> None:
        for client in self._clients:
            client.sock.close()
        self._selector.close()

    @property
    def server(self) -> int:
        """The id of the process that serves. Linux only."""
        size = struct.calcsize("iII")
        sock = self._clients[0].sock
        data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("iII", data)[0])

    def _connect(self) -> Client:
        client = Client(self._address)
        self._selector.register(client.sock, selectors.EVENT_READ, client)
        return client

    def _ask(self, client: Client) -> None:
        data, due = self._random.choice(self._kinds)(next(self._tokens))
        for _ in range(len(due) - 1):
            next(self._tokens)
        client.ask(data, due, self._clock)

    def _rest(self, client: Client, now: float) -> None:
        wake = now + self._random.uniform(0, 2 * self._pause)
        heapq.heappush(self._resting, (wake, next(self._numbers), client))


def dial(address: str) -> socket.socket:
    """Connect; wait while the queue of clients is full."""
    for _ in range(3000):
        try:
            return rawclient.dial(address)
        except (BlockingIOError, ConnectionRefusedError):
            time.sleep(0.01)
    raise TimeoutError(f"{address} accepts nothing")


def usage(pid: int) -> dict[str, float]:
    """Return the memory and its peak in MiB, descriptors and threads of a process. Linux only."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {name: text.split() for name, _, text in (line.partition(":") for line in lines)}
    descriptors, threads = (len(os.listdir(f"/proc/{pid}/{name}")) for name in ("fd", "task"))
    memory, peak = (int(status[name][0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return {"memory": memory, "peak": peak, "descriptors": descriptors, "threads": threads}

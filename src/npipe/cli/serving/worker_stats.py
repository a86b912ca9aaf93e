"""The counters of worker processes, which the first process collects: ``serve --workers``.

Each worker has one end of a socket pair. It receives a number and answers with one line of JSON,
the number and its counters, so a late answer is not taken for that of the next question.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from npipe.rpc.session.server_stats import add_up

__all__ = ["WorkerStats", "add_up_workers"]

PATIENCE: Final = 2.0  # seconds for a worker to answer


class WorkerStats:
    """The counters of one worker. Made before the fork; each process uses its own methods."""

    def __init__(self) -> None:
        self._asking, self._answering = socket.socketpair()
        self._lock = threading.Lock()
        self._asked = 0
        self._buffer = b""
        self._last: dict[str, Any] | None = None

    def close(self) -> None:
        """Close the ends in this process. Idempotent."""
        self._asking.close()
        self._answering.close()

    # In the worker

    def answer(self, stats: Callable[[], Mapping[str, Any]]) -> None:
        """Answer in a thread until the first process has ended."""
        self._asking.close()

        def run() -> None:
            with suppress(OSError):
                while data := self._answering.recv(100):
                    number = data.split()[-1].decode()
                    line = msgspec.json.encode({"n": int(number), "stats": stats()})
                    self._answering.sendall(line + b"\n")

        threading.Thread(target=run, name="npipe-stats", daemon=True).start()

    # In the first process

    def forked(self) -> None:
        """Close the worker's end, so that the end of the worker is noticed."""
        self._answering.close()

    def ask(self) -> dict[str, Any] | None:
        """Return the counters of the worker, or its last ones if it does not answer."""
        with self._lock:
            self._asked += 1
            with suppress(OSError):
                self._asking.sendall(b"%d\n" % self._asked)
                self._last = self._read(time.monotonic() + PATIENCE)
            return self._last

    def _read(self, deadline: float) -> dict[str, Any]:
        """Return the answer to the last question. Raises OSError."""
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                answer = msgspec.json.decode(line, type=dict[str, Any])
                if answer["n"] == self._asked:
                    return dict(answer["stats"])
                continue
            self._asking.settimeout(max(deadline - time.monotonic(), 0.001))
            data = self._asking.recv(65536)
            if not data:
                raise ConnectionResetError
            self._buffer += data


def add_up_workers(workers: Sequence[WorkerStats]) -> dict[str, Any]:
    """Return the sum of the counters of all workers, in the form of ``Server.stats()``."""
    reports = (worker.ask() for worker in workers)
    return add_up(report for report in reports if report is not None)

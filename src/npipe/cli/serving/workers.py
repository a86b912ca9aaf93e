"""Serve from several processes, which accept clients of one listening socket. POSIX only.

The first process listens, forks the workers and serves no clients itself. It forwards signals,
waits for the workers, and removes the socket file. If it is killed, the workers notice that by the
end of a pipe. Only the socket is shared: each process has its own copies of the API objects.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

assert sys.platform != "win32"  # mypy then skips the rest on Windows

from npipe import rpc, transport
from npipe.cli.serving.metrics import serve_metrics
from npipe.cli.serving.run import DRAIN, Ready
from npipe.cli.serving.signals import Stop
from npipe.cli.serving.worker_stats import WorkerStats, add_up_workers
from npipe.transport.base import Connection, Listener

__all__ = ["run_workers"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_workers(
    count: int,
    server: rpc.Server,
    address: str,
    listen: dict[str, Any],
    ready: Ready,
    *,
    metrics: str | None = None,
) -> None:
    """Serve; call ``ready`` once clients can connect; return when all workers have ended.

    The first process serves the metrics, the sums over all workers. Other arguments are those of
    ``run``.

    Raises:
        ChildProcessError: A worker has ended unexpectedly.
    """
    listener = transport.listen(address, **listen)
    lifeline, held = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until both processes can handle them
    workers: list[int] = []
    ended: list[int] = []
    waiting: list[threading.Thread] = []
    stopping = threading.Event()
    stats = [WorkerStats() for _ in range(count)]
    try:
        gc.freeze()  # as ``run`` does; and what no collection looks at stays shared by all workers
        for own in stats:
            worker = os.fork()
            if not worker:
                for other in stats:
                    if other is not own:
                        other.close()
                _work(server, listener, lifeline, held, own)
            workers.append(worker)
        for each in stats:
            each.forked()
        stop = Stop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        waiting = [_start(_await_end, worker, ended, stopping) for worker in workers]
        with ExitStack() as stack:
            at = ""
            if metrics is not None:
                total = partial(add_up_workers, stats)
                at = stack.enter_context(serve_metrics(metrics, total, listen["access"]))
            ready(listener.address, at)
            stop.wait()
        early = ended[:]
    finally:
        gc.unfreeze()
        stopping.set()
        listener.close()
        try:
            _end(workers, ended, waiting)
        except KeyboardInterrupt:
            _end(workers, ended, waiting)  # the second signal ends calls in flight
        os.close(lifeline)
        os.close(held)
        for each in stats:
            each.close()
    stop.finish()
    if early:
        raise ChildProcessError(f"a worker ended unexpectedly: process {early[0]}")


def _work(
    server: rpc.Server,
    listener: Listener[Connection],
    lifeline: int,
    held: int,
    stats: WorkerStats,
) -> None:
    """Run a worker; never return."""
    status = 1
    try:
        os.setpgid(0, 0)  # only the first process gets Ctrl-C
        os.close(held)
        stop = Stop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        _start(_end_with_parent, lifeline)
        stats.answer(server.stats)
        try:
            server.serve_listener(listener.share())
            listener.close()  # its file belongs to the first process, and stays
            stop.wait()
        finally:
            try:
                server.stop(drain=DRAIN)
            except KeyboardInterrupt:
                server.stop(drain=0)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(status)


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _await_end(worker: int, ended: list[int], stopping: threading.Event) -> None:
    """Wait for the end of a worker, and stop everything if it was unexpected."""
    os.waitpid(worker, 0)
    ended.append(worker)
    if not stopping.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def _end(workers: list[int], ended: list[int], waiting: list[threading.Thread]) -> None:
    for worker in workers:
        if worker not in ended:
            with suppress(ProcessLookupError):  # it ends now
                os.kill(worker, signal.SIGTERM)
    for watch in waiting:
        watch.join()


def _start(target: Callable[..., None], *args: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=args, daemon=True)
    thread.start()
    return thread

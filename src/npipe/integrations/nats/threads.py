"""Connections over NATS for programs without an event loop.

A loop runs in a thread. A pair of connections in memory joins it to the program; two threads copy
between the far connection and the loop, as for standard streams.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

from npipe.address import Address
from npipe.integrations.nats.broker import SILENCE, Target
from npipe.integrations.nats.service import Service, serve
from npipe.integrations.nats.workers import open_driver
from npipe.rpc.aio.endpoints import adopt_files
from npipe.security import PeerIdentity
from npipe.testing import memory_pair

__all__ = ["Listener", "connect", "listen"]

log: logging.Logger = logging.getLogger("npipe.nats")

PATIENCE = 5.0  # seconds for the thread of a listener to end


class _Half(asyncio.Protocol):
    """One side of a forwarded connection: the other side writes what this one reads."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.ended = asyncio.Event()
        self._other: _Half | None = None
        self._early: list[bytes] = []  # received before the two sides were joined

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._other is None or self._other.transport is None:
            self._early.append(data)
        else:
            self._other.transport.write(data)

    def join(self, other: _Half) -> None:
        """Forward data in both directions from now on. Both sides are connected."""
        self._other, other._other = other, self
        for half, its_other in ((self, other), (other, self)):
            assert its_other.transport is not None
            for data in half._early:
                its_other.transport.write(data)
            if half.ended.is_set():
                its_other.transport.close()

    def pause_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._other is not None and self._other.transport is not None:
            self._other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()
        if exc is not None:  # the program only sees that the connection has ended
            log.info("a connection has ended: %s", exc)
        if self._other is not None and self._other.transport is not None:
            self._other.transport.close()


def connect(address: str, *, timeout: float | None = 10.0) -> Any:
    """Connect to one worker of a subject.

    Args:
        address: ``nats://host/subject``.
        timeout: Seconds for the broker to answer.

    Returns:
        A connection. Its peer is unknown.

    Raises:
        OSError: The broker or every worker is missing.
        ValueError: The address is invalid.
    """
    Target.parse(address)
    ours, theirs = memory_pair(peer=PeerIdentity())
    ready: Future[None] = Future()

    async def carry() -> None:
        try:
            near, far = _Half(), _Half()
            await open_driver(address, lambda: far, timeout=timeout)
            await adopt_files(theirs, lambda: near)
            near.join(far)
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        await far.ended.wait()
        await near.ended.wait()
        await asyncio.sleep(0)  # let the worker's side begin
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=PATIENCE) if others else None

    thread = threading.Thread(target=lambda: asyncio.run(carry()), name="npipe-nats", daemon=True)
    thread.start()
    try:
        ready.result()
    except BaseException:
        ours.close()
        theirs.close()
        thread.join()
        raise
    return ours


class Listener:
    """A running worker, in its own thread. Made by ``listen``."""

    def __init__(
        self, address: str, serve_connection: Callable[[Any], object], options: dict[str, Any]
    ) -> None:
        self.target: Target = Target.parse(address)
        self.address: Address = Address("nats", str(self.target))
        self._serve_connection = serve_connection
        self._loop: asyncio.AbstractEventLoop
        self._service: Service
        self._carried: set[asyncio.Task[None]] = set()
        ready: Future[None] = Future()
        self._closed = False

        async def work() -> None:
            self._loop = asyncio.get_running_loop()
            self._end = asyncio.Event()
            try:
                self._service = await serve(self.target, self._accept, **options)
            except BaseException as error:
                ready.set_exception(error)
                return
            ready.set_result(None)
            await self._end.wait()
            await self._service.close()

        self._thread = threading.Thread(
            target=lambda: asyncio.run(work()), name="npipe-nats", daemon=True
        )
        self._thread.start()
        ready.result()

    def leave(self) -> None:
        """Accept no more calls; those in flight continue. Return once no front sends any."""
        if not self._closed:
            asyncio.run_coroutine_threadsafe(self._service.leave(), self._loop).result()

    def close(self) -> None:
        """End every connection. Idempotent."""
        if not self._closed:
            self._closed = True
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(PATIENCE)

    def _accept(self) -> asyncio.Protocol:
        near, far = _Half(), _Half()
        task = self._loop.create_task(self._carry(near, far))
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)
        return far

    async def _carry(self, near: _Half, far: _Half) -> None:
        ours, theirs = memory_pair(peer=PeerIdentity())
        await adopt_files(theirs, lambda: near)
        near.join(far)
        await asyncio.to_thread(self._serve_connection, ours)


def listen(
    address: str,
    serve_connection: Callable[[Any], object],
    *,
    stateless: bool = False,
    stats: Callable[[], Any] | None = None,
    timeout: float = 10.0,
    silence: float = SILENCE,
) -> Listener:
    """Serve a subject as one of its workers.

    Args:
        address: ``nats://host/subject``.
        serve_connection: Called with each new connection, whose peer is unknown.
        stateless: Whether the calls of one client may go to several workers.
        stats: Returns the statistics of this worker for the tools of NATS.
        timeout: Seconds for the broker to answer.
        silence: Seconds without a message after which a front counts as lost.

    Raises:
        OSError: The broker cannot be reached.
        ValueError: The address is invalid.
    """
    options = {"stateless": stateless, "stats": stats, "timeout": timeout, "silence": silence}
    return Listener(address, serve_connection, options)

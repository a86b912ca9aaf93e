"""The connection of a process to the broker: its pipes, and checks that their peers are alive.

Everything here runs on one event loop. When the connection to the broker is lost, all pipes end and
no message is stored for later, because only the caller may repeat a call that was sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from npipe.integrations import missing
from npipe.integrations.nats.pipe import Pipe

try:
    import nats.errors
    from nats.aio.client import Client
    from nats.aio.msg import Msg
except ModuleNotFoundError as _error:
    raise missing("nats", _error) from None

__all__ = ["Broker", "Target"]

log: logging.Logger = logging.getLogger("npipe.nats")

PING = 1.0  # seconds between checks that peers are alive
SILENCE = 10.0  # seconds without a message after which a peer counts as lost
FLUSH = 2.0  # seconds at the end for sending the rest


@dataclass(frozen=True, slots=True)
class Target:
    """Address of a subject: ``nats://[user:password@]host[:port][,...]/subject``."""

    broker: str  # the URL of the broker, or of several of a cluster, with the password
    subject: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. ``tls://`` is NATS with TLS. Raises ValueError."""
        url = urlsplit(text)
        subject = url.path.strip("/")
        if url.scheme not in ("nats", "tls") or not url.hostname:
            raise ValueError(f"bad address {_public(text)!r}: write nats://host/subject")
        if not re.fullmatch(r"[\w-]+(\.[\w-]+)*", subject, re.ASCII):
            why = "a subject has letters, digits, _ and -, with dots between them"
            raise ValueError(f"bad address {_public(text)!r}: {why}")
        return cls(f"{url.scheme}://{url.netloc}", subject)

    @property
    def name(self) -> str:
        """The name of the service (NATS ADR-32), which has no dots."""
        return self.subject.replace(".", "_")

    @property
    def servers(self) -> list[str]:
        """The URLs of the brokers, in the order in which they are tried."""
        scheme, _, hosts = self.broker.partition("://")
        return [f"{scheme}://{host}" for host in hosts.split(",")]

    def __str__(self) -> str:
        return _public(f"{self.broker}/{self.subject}")

    __repr__ = __str__


def _public(text: str) -> str:
    """Return a URL without user and password."""
    return re.sub(r"(//|,)[^/@,]*@", r"\1", text)


class Broker:
    """A connection to the broker, and the pipes that go over it, by their own subjects."""

    def __init__(self, target: Target, *, silence: float = SILENCE) -> None:
        """Prepare a connection for ``target``; see ``open``."""
        self.target = target
        self.pipes: dict[str, Pipe] = {}
        self.max_payload: int = 1 << 20
        self.on_gone: Callable[[str], object] = lambda peer: (
            None
        )  # called for a subject without a receiver
        self.on_idle: Callable[[], object] = lambda: None  # called when the last pipe has ended
        self.client: Client
        self._silence = silence
        self._outbox: deque[tuple[str, str, bytes]] = deque()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._error: Exception | None = None

    async def open(self, timeout: float) -> None:
        """Connect to the broker.

        Raises:
            OSError: The broker cannot be reached in time, or refuses the connection.
        """
        options: dict[str, Any] = {
            "pending_size": 0,  # otherwise nats-py stores messages while the broker is away
            "dont_randomize": True,
            "reconnect_time_wait": 0.1,
            "max_reconnect_attempts": -1,
            "ping_interval": 5,
            "disconnected_cb": self._disconnected,
            "error_cb": self._failed,
            "name": "npipe",
        }
        if creds := os.environ.get("NATS_CREDS"):
            options["user_credentials"] = creds
        if authority := os.environ.get("NATS_CA"):
            options["tls"] = ssl.create_default_context(cafile=authority)
        self.client = Client()
        try:
            async with asyncio.timeout(timeout):
                await self.client.connect(self.target.servers, **options)
        except (TimeoutError, OSError, nats.errors.Error) as error:
            with suppress(nats.errors.Error, OSError):
                await self.client.close()
            why = self._error or error
            text = f"the broker of {self.target} cannot be reached: {why or type(why).__name__}"
            raise ConnectionRefusedError(text) from error
        self.max_payload = self.client.max_payload
        self._tasks = [asyncio.create_task(work()) for work in (self._send, self._look)]

    async def close(self) -> None:
        """End every pipe, and the connection."""
        for pipe in tuple(self.pipes.values()):
            pipe.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(nats.errors.Error, OSError, TimeoutError):
            if self.client.is_connected:
                await self._drain_outbox()
                await self.client.flush(FLUSH)  # type: ignore[arg-type]  # it does take a float
        with suppress(nats.errors.Error, OSError):
            await self.client.close()

    def post(self, subject: str, reply: str, data: bytes) -> None:
        """Publish a message soon, in order."""
        self._outbox.append((subject, reply, data))
        self._wake.set()

    def forget(self, pipe: Pipe) -> None:
        """Drop a pipe that has ended."""
        self.pipes.pop(pipe.own, None)
        if not self.pipes:
            self.on_idle()

    def add(self, own: str, peer: str, protocol: Any) -> Pipe:
        """Begin a pipe."""
        pipe = Pipe(self, own, peer, protocol, lambda: self.on_gone(peer))
        self.pipes[own] = pipe
        return pipe

    def take(self, message: Msg, base: str) -> Pipe | None:
        """Process a message below ``base``, which has the own subjects.

        Returns:
            The pipe of the message; None if there is none.
        """
        conn, _, token = message.subject[len(base) + 1 :].partition(".")
        pipe = self.pipes.get(f"{base}.{conn}")
        if token:  # a reply subject gets only the broker's 503
            if pipe is not None and (message.headers or {}).get("Status", "503") == "503":
                self.on_gone(pipe.peer)
                pipe.undelivered(token)
            return pipe
        if pipe is not None and message.reply.startswith(f"{pipe.peer}."):
            pipe.received(message.reply.rpartition(".")[2], message.data)
        return pipe

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._drain_outbox()

    async def _drain_outbox(self) -> None:
        while self._outbox:
            subject, reply, data = self._outbox.popleft()
            try:
                await self.client.publish(subject, data, reply=reply)
            except (nats.errors.Error, OSError) as error:  # without a broker, or too large
                own, _, token = reply.rpartition(".")
                if own in self.pipes:
                    self.pipes[own].undelivered(token)
                log.debug("not published: %r", error)

    async def _look(self) -> None:
        """Ask each peer, over one of its pipes, whether it is alive."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(PING)
            now = time.monotonic()
            late = max(0.0, now - before - PING)  # the loop was held up: it could hear no peer
            before = now
            ends: dict[str, list[Pipe]] = {}
            for pipe in self.pipes.values():
                pipe.heard += late
                ends.setdefault(pipe.peer.rpartition(".")[0], []).append(pipe)
            for pipes in ends.values():
                if now - max(pipe.heard for pipe in pipes) > self._silence:
                    self.on_gone(pipes[0].peer)
                    for pipe in pipes:
                        pipe.lost("the peer does not answer")
                else:
                    pipes[0].ping()

    async def _disconnected(self) -> None:
        self._outbox.clear()
        # nats-py would send these once the broker is back, after their calls have failed.
        self.client._pending.clear()
        self.client._pending_data_size = 0
        for pipe in tuple(self.pipes.values()):
            self.on_gone(pipe.peer)
            pipe.lost("the connection to the broker was lost")

    async def _failed(self, error: Exception) -> None:
        # A broker that refuses a client sends an error and closes. Either the error or the reset
        # is seen first, by chance; the error is more helpful.
        if not isinstance(self._error, nats.errors.Error) or isinstance(error, nats.errors.Error):
            self._error = error
        log.debug("broker of %s: %r", self.target, error)

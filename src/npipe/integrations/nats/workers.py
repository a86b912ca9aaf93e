"""The workers of a subject: finding them and connecting to them.

Workers are found by NATS micro (ADR-32): each answers ``$SRV.INFO.<name>`` with its id and its
metadata. They are asked every second. The id of a worker is never used again, so a worker that has
left or died is removed for good, already at the broker's 503: a dead worker has no calls in flight,
and would be selected again and again as the least busy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import nats.errors

from npipe.integrations.nats.broker import SILENCE, Broker, Target

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

__all__ = ["PROTOCOL", "Workers", "list_workers", "open_driver"]

log: logging.Logger = logging.getLogger("npipe.nats")

PROTOCOL: Final = "1"  # version of the protocol of ``pipe.py``, in a worker's metadata
PERIOD: Final = 1.0  # seconds between two searches
FORGET: Final = 5.0  # seconds without an answer after which a worker is not selected
ANSWERS: Final = 0.25  # seconds for workers to answer


class Workers:
    """A group of servers for ``rpc.aio.Spread``: the workers of one subject."""

    def __init__(
        self, target: str | Target, *, timeout: float | None = 10.0, silence: float = SILENCE
    ) -> None:
        """Prepare the search.

        Args:
            target: ``nats://host/subject``.
            timeout: Seconds for the broker to answer.
            silence: Seconds without a message after which a worker counts as lost.
        """
        self._target = target if isinstance(target, Target) else Target.parse(target)
        self._broker = Broker(self._target, silence=silence)
        self._timeout = 10.0 if timeout is None else timeout
        self._found: dict[str, dict[str, Any]] = {}
        self._seen: dict[str, float] = {}  # time of each worker's last answer
        self._stateless = False
        self._gone: set[str] = set()
        self._numbers = count(1)
        self._inbox = ""
        self._task: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect to the broker, and search for workers. Raises OSError."""
        await self._broker.open(self._timeout)
        self._broker.on_gone = self._strike_off
        client = self._broker.client
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.>", cb=self._received)
        await self._discover()
        self._task = asyncio.create_task(self._keep_discovering())

    async def close(self) -> None:
        """End every connection. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._broker.close()

    @property
    def stateless(self) -> bool:
        """True if every worker allows the calls of one client to go to several workers.

        If no worker is known, the answer of the last ones counts.
        """
        return self._stateless

    def names(self) -> Iterable[str]:
        """Return the ids of the workers; none while the broker is away."""
        return tuple(self._found) if self._broker.client.is_connected else ()

    async def open(self, name: str, make_driver: Callable[[], Any]) -> Any:
        """Connect to a worker. Nothing is sent before the first message."""
        if name not in self._found:
            raise ConnectionRefusedError(f"worker {name} of {self._target} has left")
        driver = make_driver()
        conn = next(self._numbers)
        front = self._inbox.rpartition(".")[2]
        peer = f"{self._target.subject}.{name}.{front}-{conn}"
        self._broker.add(f"{self._inbox}.{conn}", peer, driver)
        return driver

    def close_with_link(self) -> None:
        """Close once the last connection has ended: for a client with one."""

        def close() -> None:
            self._closing = asyncio.get_running_loop().create_task(self.close())

        self._broker.on_idle = close

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._target}>"

    async def _received(self, message: Msg) -> None:
        self._broker.take(message, self._inbox)

    def _strike_off(self, peer: str) -> None:
        name = peer[len(self._target.subject) + 1 :].split(".", maxsplit=1)[0]
        self._found.pop(name, None)
        if self._broker.client.is_connected:  # otherwise the worker may return with the broker
            self._gone.add(name)

    async def _keep_discovering(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            with suppress(nats.errors.Error, OSError):
                if self._broker.client.is_connected:
                    await self._discover()

    async def _discover(self) -> None:
        answers = await _ask(self._broker.client, f"$SRV.INFO.{self._target.name}")
        found = {str(info["id"]): info for info in answers}
        for name in [name for name in found if _metadata(found[name])["npipe"] != PROTOCOL]:
            if name not in self._gone:
                self._gone.add(name)
                log.warning("%s: worker %s has another version of npipe", self._target, name)
        now = time.monotonic()
        self._seen |= dict.fromkeys(found, now)
        # A late worker is kept: a dead one is noticed when a message is sent to it.
        self._found = {
            name: info
            for name, info in (self._found | found).items()
            if name not in self._gone and now - self._seen[name] < FORGET
        }
        if self._found:
            each = map(_metadata, self._found.values())
            self._stateless = all(metadata.get("stateless") == "true" for metadata in each)


def _metadata(info: Any) -> dict[str, Any]:
    found = info.get("metadata") if isinstance(info, dict) else None
    return found if isinstance(found, dict) else {}


def list_workers(broker: str, *, timeout: float = 10.0) -> list[dict[str, Any]]:
    """Return all workers of npipe at a broker, of any subject, for users and scripts.

    Args:
        broker: ``nats://host``; the rest of the URL is ignored.
        timeout: Seconds for the broker to answer.

    Raises:
        OSError: The broker cannot be reached.
    """

    async def ask() -> list[dict[str, Any]]:
        url = urlsplit(broker)
        connection = Broker(Target(f"{url.scheme}://{url.netloc}", "all"))
        await connection.open(timeout)
        try:
            answers = await _ask(connection.client, "$SRV.STATS")
        finally:
            await connection.close()
        return sorted(map(_row, answers), key=lambda row: (row["name"], row["id"]))

    return asyncio.run(ask())


def _row(answer: dict[str, Any]) -> dict[str, Any]:
    metadata = _metadata(answer)
    endpoints = answer.get("endpoints") or [{}]
    stats = endpoints[0].get("data") or {}
    return {
        "name": answer["name"],
        "id": answer["id"],
        "host": metadata.get("host", ""),
        "pid": metadata.get("pid", ""),
        "stateless": metadata.get("stateless") == "true",
        "calls": stats.get("calls", 0),
        "errors": stats.get("errors", 0),
    }


async def _ask(client: Client, subject: str) -> list[dict[str, Any]]:
    """Ask all services; return the answers of npipe's within ``ANSWERS`` seconds."""
    inbox = client.new_inbox()
    found: list[dict[str, Any]] = []

    async def answer(message: Msg) -> None:
        with suppress(ValueError):
            info = json.loads(message.data)
            if isinstance(info, dict) and "id" in info and "npipe" in _metadata(info):
                found.append(info)

    subscription = await client.subscribe(inbox, cb=answer)
    try:
        await client.publish(subject, b"", reply=inbox)
        await asyncio.sleep(ANSWERS)
    finally:
        with suppress(nats.errors.Error):
            await subscription.unsubscribe()
    return found


async def open_driver(
    address: str, make_driver: Callable[[], Any], *, timeout: float | None = 10.0
) -> Any:
    """Connect a client to one worker of a subject, over a broker connection of its own.

    Raises:
        OSError: The broker or every worker is missing.
    """
    workers = Workers(address, timeout=timeout)
    await workers.start()
    names = list(workers.names())
    if not names:
        await workers.close()
        raise ConnectionRefusedError(f"no worker serves {Target.parse(address)}")
    driver = await workers.open(random.choice(names), make_driver)
    workers.close_with_link()
    return driver

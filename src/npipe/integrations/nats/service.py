"""A worker: one of the processes that serve a subject."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import nats.errors
from nats.micro.service import EndpointConfig, ServiceConfig
from nats.micro.service import Service as Micro

from npipe.integrations.nats.broker import SILENCE, Broker, Target
from npipe.integrations.nats.workers import PROTOCOL

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.micro.request import Request

__all__ = ["Service", "serve"]

log: logging.Logger = logging.getLogger("npipe.nats")

LEAVE = 1.0  # seconds for the fronts to agree to send no more calls


class Service:
    """A running worker. Made by ``serve``."""

    def __init__(self, broker: Broker, make_protocol: Callable[[], Any]) -> None:
        self._broker = broker
        self._make_protocol = make_protocol
        self._base = ""
        self._micro: Micro | None = None
        self._leaving = False

    @property
    def target(self) -> Target:
        """The served address."""
        return self._broker.target

    @property
    def id(self) -> str:
        """The id of this worker, which is never used again."""
        assert self._micro is not None
        return self._micro.id

    async def start(self, metadata: dict[str, str], stats: Callable[[], Any] | None) -> None:
        """Subscribe, then announce the worker."""
        target, client = self.target, self._broker.client

        config = ServiceConfig(
            name=target.name,
            version="1.0.0",
            description="JSON-RPC 2.0 by npipe",
            metadata={"npipe": PROTOCOL, "host": platform.node(), "pid": str(os.getpid())}
            | metadata,
            stats_handler=lambda _: {} if stats is None else stats(),
        )
        self._micro = Micro(client, config)
        self._base = f"{target.subject}.{self.id}"
        await client.subscribe(f"{self._base}.>", cb=self._received)
        await self._micro.start()  # last: a front that finds it may connect at once
        # For the tools of NATS: an endpoint that describes the protocol.
        endpoint = EndpointConfig(name="rpc", subject=self._base, handler=_explain)
        await self._micro.add_endpoint(endpoint)
        await client.flush()

    async def leave(self) -> None:
        """Withdraw the announcement, and have every front stop sending calls."""
        if self._leaving:
            return
        self._leaving = True
        if self._micro is not None:
            with suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(LEAVE):  # otherwise it waits longer for a lost broker
                    await self._micro.stop()
        pipes = list(self._broker.pipes.values())
        for pipe in pipes:
            pipe.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE):
                for pipe in pipes:
                    await pipe.quiet.wait()

    async def close(self) -> None:
        """End every connection, after at most ``LEAVE`` seconds for its queued data."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE):
                while self._broker.pipes:
                    ended = asyncio.Event()
                    self._broker.on_idle = ended.set
                    await ended.wait()
        await self._broker.close()

    async def _received(self, message: Msg) -> None:
        if self._broker.take(message, self._base) is not None:
            return
        own = message.subject
        peer, _, token = message.reply.rpartition(".")
        if "." in own[len(self._base) + 1 :] or not peer:
            return  # the broker's report for a pipe that has ended
        if token == "1" and not self._leaving:
            pipe = self._broker.add(own, peer, self._make_protocol())
            pipe.received(token, message.data)
        elif token != "x":
            self._broker.post(peer, f"{own}.x", b"")  # the connection has ended


async def serve(
    address: str | Target,
    make_protocol: Callable[[], Any],
    *,
    stateless: bool = False,
    stats: Callable[[], Any] | None = None,
    timeout: float = 10.0,
    silence: float = SILENCE,
) -> Service:
    """Serve a subject as one of its workers.

    Args:
        address: ``nats://host/subject``.
        make_protocol: Returns the protocol of a new connection, as ``Server.protocol`` does.
        stateless: Whether the calls of one client may go to several workers.
        stats: Returns the statistics of this worker for the tools of NATS.
        timeout: Seconds for the broker to answer.
        silence: Seconds without a message after which a front counts as lost.

    Raises:
        ValueError: The address is invalid.
        OSError: The broker cannot be reached.
    """
    target = address if isinstance(address, Target) else Target.parse(address)
    broker = Broker(target, silence=silence)
    await broker.open(timeout)
    service = Service(broker, make_protocol)
    try:
        await service.start({"stateless": "true"} if stateless else {}, stats)
    except (nats.errors.Error, TimeoutError) as error:
        await broker.close()
        raise OSError(f"cannot serve {target}: {error or type(error).__name__}") from error
    return service


async def _explain(request: Request) -> None:
    await request.respond_error(
        "400", "this subject carries npipe connections: use npipe, not a NATS request"
    )

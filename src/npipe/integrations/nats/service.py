"""Being a worker: one of those who serve a subject."""

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

LEAVE = 1.0  # seconds for the fronts to say that they send no more calls


class Service:
    """A worker at work. Made by ``serve``."""

    def __init__(self, broker: Broker, make_protocol: Callable[[], Any]) -> None:
        self._broker = broker
        self._make_protocol = make_protocol
        self._base = ""
        self._micro: Micro | None = None
        self._leaving = False

    @property
    def target(self) -> Target:
        """What is served."""
        return self._broker.target

    @property
    def id(self) -> str:
        """The id of this worker, which no other ever has."""
        assert self._micro is not None
        return self._micro.id

    async def start(self, metadata: dict[str, str], stats: Callable[[], Any] | None) -> None:
        """Subscribe, and then be found."""
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
        await self._micro.start()  # last: whoever finds it may connect at once
        # For the tools of NATS: an endpoint that says what is spoken here.
        endpoint = EndpointConfig(name="rpc", subject=self._base, handler=_explain)
        await self._micro.add_endpoint(endpoint)
        await client.flush()

    async def leave(self) -> None:
        """Be found no more, and have every front stop sending calls."""
        if self._leaving:
            return
        self._leaving = True
        if self._micro is not None:
            with suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(LEAVE):  # a broker that has gone is waited for longer
                    await self._micro.stop()
        pipes = list(self._broker.pipes.values())
        for pipe in pipes:
            pipe.leave()
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE):
                for pipe in pipes:
                    await pipe.quiet.wait()

    async def close(self) -> None:
        """End every connection, and the one to the broker. What is queued has ``LEAVE`` seconds."""
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
            return  # the broker's answer to a pipe that has ended
        if token == "1" and not self._leaving:
            pipe = self._broker.add(own, peer, self._make_protocol())
            pipe.received(token, message.data)
        elif token != "x":
            self._broker.post(peer, f"{own}.x", b"")  # there is no such connection any more


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
        stateless: Tell the fronts that the calls of one client may go to several workers.
        stats: Returns what the tools of NATS show of this worker.
        timeout: Seconds for the broker to answer.
        silence: Seconds without a sign of life after which a front is given up.

    Raises:
        ValueError: The address is none.
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
    await request.respond_error("400", "connect with npipe: this is no request and reply")

"""A server on an event loop that spreads what its clients ask for over several others.

Which server gets what is decided in ``session.spreading``; here connections are made and lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

from npipe.errors import ClosedError
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.endpoints import Endpoint, open_endpoint
from npipe.rpc.aio.runtime import Runtime
from npipe.rpc.aio.server import Server
from npipe.rpc.limits import Limits
from npipe.rpc.remote import remote_module
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.forwarding import join_sessions
from npipe.rpc.session.spreading import Balancer, Spreading, Upstream
from npipe.rpc.wire.codec import Codec, find_codec
from npipe.rpc.wire.encoding import Encoding
from npipe.rpc.wire.json_encoding import JSON

__all__ = ["Group", "Spread"]

log = logging.getLogger("npipe.rpc")

RETRY = 1.0  # seconds before a server that was lost is treated as any other again
OnClose = Callable[[Driver, str], object]
Name = tuple[int, str]  # the group's place, and the server's name there


@runtime_checkable
class Group(Protocol):
    """Servers that come and go, all of which serve the same."""

    async def start(self) -> None:
        """Find out which there are. Raises OSError."""

    async def close(self) -> None:
        """End what ``start`` began."""

    def names(self) -> Iterable[str]:
        """Return those that take calls now. A name is never used again for another server."""

    async def open(self, name: str, make_link: Callable[[], Driver]) -> Driver:
        """Connect to one of them. Raises OSError."""


class Spread(Server):
    """Stands in front of several servers: one address, and each call goes to the least busy.

    By default a client stays with one server, the one with the fewest clients: what it does there
    may depend on what it did before. With ``stateless`` each call goes to the server with the
    fewest calls and subscriptions under way; only the author of an API can know that this may be.
    A subscription stays where it was made, and what refers to it or to a call goes there. Between
    servers the calls of one client keep no order.

    A server that is lost costs what was under way there: with ``stateless`` an error -32000 with
    ``data={"maybe_executed": True}``, or the item of a subscription that ends it; otherwise the
    connection. Calls of which nothing had been sent go to another server.
    """

    def __init__(
        self,
        upstreams: Sequence[Endpoint | Group],
        *,
        stateless: bool | None = None,
        limits: Limits | None = None,
        codec: str | Encoding | Codec = "json-stream",
        upstream_codec: str | Encoding | Codec = "json-stream",
        connect_timeout: float | None = 10.0,
        **options: Any,
    ) -> None:
        """Prepare a server; it serves nothing yet.

        Args:
            upstreams: The servers, as ``connect`` takes them.
            stateless: Spread the calls of a client, not the clients. None: as the groups among
                the upstreams say, all of them.
            limits: For both sides.
            codec: Of the clients; one of JSON.
            upstream_codec: Of the servers; one of JSON.
            connect_timeout: Seconds for a server to accept.
            options: Those of ``npipe.connect``, for the way upstream.
        """
        if not upstreams or isinstance(upstreams, str):
            raise ValueError("give a list of at least one server")
        super().__init__(API(), limits=limits, codec=codec)
        for each in (codec, upstream_codec):
            if not isinstance(find_codec(each).encoding, JSON):
                raise ValueError(f"Spread takes a codec of JSON, not {each!r}")
        self.stateless = stateless
        options = {"timeout": connect_timeout, **options}
        self._groups = [_group(each, options) for each in upstreams]
        fixed = all(isinstance(group, _One) for group in self._groups)
        self._fixed: tuple[Name, ...] = ()  # the names, where none comes or goes
        self._fixed = tuple(self._names()) if fixed else ()
        self._balancer = Balancer(self._names)
        self._upstream_runtime = Runtime(Dispatcher(API()), limits, upstream_codec)
        self._spreading: dict[Driver, Spreading] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Find the servers of the groups among the upstreams. Raises OSError."""
        for group in self._groups:
            await group.start()

    async def stop(self, drain: float = 0.0) -> None:
        await super().stop(drain)
        for task in tuple(self._tasks):
            task.cancel()
        for group in self._groups:
            await group.close()

    def _names(self) -> Iterable[Name]:
        if self._fixed:
            return self._fixed
        return ((at, name) for at, group in enumerate(self._groups) for name in group.names())

    def _opened(self, link: Driver) -> None:
        super()._opened(link)
        if link.transport.is_closing():  # refused
            return
        if self._spreads_calls():
            dial = partial(self._dial, link)
            self._spreading[link] = Spreading(link.session, self._balancer, dial)
            return
        link.session.become_proxy()
        link.hold()  # nothing is begun before there is somewhere to pass it on to
        self._run(self._bind(link))

    def _spreads_calls(self) -> bool:
        if self.stateless is not None:
            return self.stateless
        return all(getattr(group, "stateless", False) for group in self._groups)

    def _closed(self, link: Driver, reason: str) -> None:
        super()._closed(link, reason)
        spreading = self._spreading.pop(link, None)
        if spreading is not None:
            spreading.close()
        if link.peer_driver is not None:
            link.peer_driver.close(reason)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _mark_down(self, name: Name) -> None:
        self._balancer.mark_down(name)
        asyncio.get_running_loop().call_later(RETRY, self._balancer.mark_up, name)

    async def _open(self, name: Name, client: Driver, on_close: OnClose) -> Driver:
        """Connect to a server. Raises OSError, after it was marked down."""

        def make_link() -> Driver:
            return self._upstream_runtime.link(
                client.session.connection_id, on_close=on_close, is_client=True
            )

        try:
            return await self._groups[name[0]].open(name[1], make_link)
        except (OSError, ClosedError) as error:
            self._mark_down(name)
            log.warning("server %s cannot be reached: %s", name[1], error)
            raise error if isinstance(error, OSError) else OSError(str(error)) from error

    # A client that stays with one server

    async def _bind(self, link: Driver) -> None:
        tried: set[Name] = set()
        while names := self._balancer.up(tried=tried):
            name: Name = names[0]  # type: ignore[assignment]
            tried.add(name)
            self._balancer.load[name] += 1

            def closed(other: Driver, reason: str, name: Name = name) -> None:
                self._balancer.load[name] -= 1
                if not link.closed:
                    self._mark_down(name)
                    link.close(reason)

            try:
                other = await self._open(name, link, closed)
            except OSError:
                self._balancer.load[name] -= 1
                continue
            join_sessions(link.session, other.session)
            link.join(other)
            if link.closed:  # meanwhile
                other.close("the other end closed it")
            return
        log.error("a client is turned away: no server is there")
        link.close("no server is there")

    # A client whose calls are spread

    def _dial(self, link: Driver, upstream: Upstream) -> None:
        self._run(self._connect(link, self._spreading[link], upstream))

    async def _connect(self, link: Driver, spreading: Spreading, upstream: Upstream) -> None:
        name: Name = upstream.name  # type: ignore[assignment]

        def closed(other: Driver, reason: str) -> None:
            other.unfeed()
            if not link.closed:
                self._mark_down(name)
            spreading.lost(upstream, reason)
            link.hold_while(spreading.crowded)

        try:
            other = await self._open(name, link, closed)
        except OSError as error:
            spreading.lost(upstream, str(error))
            return
        if upstream.closed:  # lost again already
            return
        if link.closed:
            other.close("the client has gone")
            return
        upstream.crowded = lambda: other.crowded
        upstream.close = partial(other.close, "the client has gone")
        other.on_crowded = lambda: link.hold_while(spreading.crowded)
        other.feed(link)
        spreading.opened(upstream, other.session)


def _group(upstream: Endpoint | Group, options: dict[str, Any]) -> Group:
    if isinstance(upstream, Group):
        return upstream
    if (module := remote_module(upstream)) is not None:
        return module.Workers(upstream, timeout=options["timeout"])  # type: ignore[no-any-return]
    return _One(upstream, options)


class _One:
    """A server that is always there, as far as one knows."""

    def __init__(self, endpoint: Endpoint, options: dict[str, Any]) -> None:
        self._endpoint = endpoint
        self._options = options
        self._label = endpoint if isinstance(endpoint, str) else repr(endpoint)

    async def start(self) -> None:
        """Nothing needs to be found."""

    async def close(self) -> None:
        """Nothing was begun."""

    def names(self) -> Iterable[str]:
        return (self._label,)

    async def open(self, name: str, make_link: Callable[[], Driver]) -> Driver:
        return await open_endpoint(self._endpoint, make_link, **self._options)

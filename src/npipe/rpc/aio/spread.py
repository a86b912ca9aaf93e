"""Load balancing over several servers, on an event loop.

``session.spreading`` chooses the server; this module opens and closes the connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar, Unpack, runtime_checkable

from npipe.errors import ClosedError
from npipe.options import ConnectOptions
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.endpoints import Endpoint, open_endpoint
from npipe.rpc.aio.forwarding_driver import ForwardingDriver, UpstreamDriver
from npipe.rpc.aio.runtime import Runtime
from npipe.rpc.aio.server import Server
from npipe.rpc.calling.endpoint import refuse_pipe_options
from npipe.rpc.forwarding.balancer import Balancer
from npipe.rpc.forwarding.relay import join_sessions
from npipe.rpc.forwarding.spreading import Spreading
from npipe.rpc.forwarding.upstream import Upstream
from npipe.rpc.limits import Limits
from npipe.rpc.remote import remote_module
from npipe.rpc.service.api import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.wire.codec import Codec, find_codec
from npipe.rpc.wire.encoding import Encoding

__all__ = ["Group", "Spread"]

log: logging.Logger = logging.getLogger("npipe.rpc")

DriverT = TypeVar("DriverT", bound=Driver)
RETRY = 1.0  # seconds before a lost server is used again
OnClose = Callable[[Driver, str], object]
Name = tuple[int, str]  # the index of the group, and the name of the server in it


@runtime_checkable
class Group(Protocol):
    """A set of servers that changes over time; all of them serve the same API."""

    async def start(self) -> None:
        """Find the servers. Raises OSError."""

    async def close(self) -> None:
        """Stop the search that ``start`` began."""

    def names(self) -> Iterable[str]:
        """Return the names of the servers that accept calls now. A name is never reused."""

    async def open(self, name: str, make_driver: Callable[[], DriverT]) -> DriverT:
        """Connect to one of the servers. Raises OSError."""


class Spread(Server):
    """Distributes clients to the least loaded of several servers, behind one address.

    By default each client is assigned to one server, that with the fewest clients, because the
    server may keep state for a connection. With ``stateless``, each call goes to the server with
    the fewest calls and subscriptions in progress; use it only for an API whose calls do not depend
    on each other. A subscription stays on its server, and calls that refer to it, or cancel a call,
    are sent there. The calls of one client that go to different servers are not ordered.

    When a server is lost, the calls in progress there fail. With ``stateless`` they are answered
    with the error -32000 and ``data={"maybe_executed": True}``, and a subscription ends with an
    error; otherwise the client's connection is closed. Calls that had not been sent go to another
    server.
    """

    _driver_kind: type[Driver] = ForwardingDriver

    def __init__(
        self,
        upstreams: Sequence[Endpoint | Group],
        *,
        stateless: bool | None = None,
        limits: Limits | None = None,
        codec: str | Encoding | Codec = "json-stream",
        upstream_codec: str | Encoding | Codec = "json-stream",
        connect_timeout: float | None = 10.0,
        **options: Unpack[ConnectOptions],
    ) -> None:
        """Make a server; it does not listen yet.

        Args:
            upstreams: The servers, as ``connect`` takes them, and groups of servers.
            stateless: Distribute the calls of each client, instead of the clients. None: true if
                all upstreams are groups that are marked stateless.
            limits: The limits for both sides.
            codec: The codec of the clients.
            upstream_codec: The codec of the servers, with the same encoding.
            connect_timeout: Seconds for connecting to a server; None is no limit.
            options: Further options of ``npipe.connect``, for the upstream connections.

        Raises:
            ValueError: There is no upstream, or the codecs have different encodings.
        """
        if not upstreams or isinstance(upstreams, str):
            raise ValueError("upstreams: give a list of at least one server")
        super().__init__(API(), limits=limits, codec=codec)
        encodings = {type(find_codec(each).encoding) for each in (codec, upstream_codec)}
        if len(encodings) > 1:
            raise ValueError(
                f"codec={codec!r} and upstream_codec={upstream_codec!r} have different encodings: "
                "Spread forwards messages unchanged, so choose one encoding for both"
            )
        self.stateless = stateless
        given: dict[str, Any] = {"timeout": connect_timeout, **options}
        self._groups = [_group(each, given) for each in upstreams]
        fixed = all(isinstance(group, _One) for group in self._groups)
        self._fixed: tuple[Name, ...] = ()  # the names, if the set of servers is fixed
        self._fixed = tuple(self._names()) if fixed else ()
        self._balancer = Balancer(self._names)
        self._upstream_runtime = Runtime(Dispatcher(API()), limits, upstream_codec, UpstreamDriver)
        self._spreading: dict[Driver, Spreading] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Find the servers of the groups among the upstreams. Raises OSError."""
        for group in self._groups:
            await group.start()

    async def stop(self, drain: float = 0.0, *, disconnect: bool = False) -> None:
        """Stop listening, wait for the calls in flight, close the connections of both sides.

        Args:
            drain: Seconds to wait for the calls in flight.
            disconnect: Disconnect the clients on Windows; see ``Server.stop``.
        """
        await super().stop(drain, disconnect=disconnect)
        for task in tuple(self._tasks):
            task.cancel()
        for group in self._groups:
            await group.close()

    def _names(self) -> Iterable[Name]:
        if self._fixed:
            return self._fixed
        return ((at, name) for at, group in enumerate(self._groups) for name in group.names())

    def _opened(self, driver: Driver) -> None:
        assert isinstance(driver, ForwardingDriver)
        super()._opened(driver)
        if driver.transport.is_closing():  # refused
            return
        if self._spreads_calls():
            dial = partial(self._dial, driver)
            self._spreading[driver] = Spreading(driver.session, self._balancer, dial)
            return
        driver.session.become_proxy()
        driver.hold()  # no call begins before the upstream connection exists
        self._run(self._bind(driver))

    def _spreads_calls(self) -> bool:
        if self.stateless is not None:
            return self.stateless
        return all(getattr(group, "stateless", False) for group in self._groups)

    def _closed(self, driver: Driver, reason: str) -> None:
        assert isinstance(driver, ForwardingDriver)
        super()._closed(driver, reason)
        spreading = self._spreading.pop(driver, None)
        if spreading is not None:
            spreading.close()
        if driver.peer_driver is not None:
            driver.peer_driver.close(reason)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _mark_down(self, name: Name) -> None:
        self._balancer.mark_down(name)
        asyncio.get_running_loop().call_later(RETRY, self._balancer.mark_up, name)

    async def _open(self, name: Name, client: Driver, on_close: OnClose) -> UpstreamDriver:
        """Connect to a server. On failure, mark it as down and raise OSError."""

        def make_driver() -> UpstreamDriver:
            return self._upstream_runtime.new_driver(
                client.session.connection_id, on_close=on_close
            )

        try:
            return await self._groups[name[0]].open(name[1], make_driver)
        except (OSError, ClosedError) as error:
            self._mark_down(name)
            log.warning("server %s cannot be reached: %s", name[1], error)
            raise error if isinstance(error, OSError) else OSError(str(error)) from error

    # Clients that are assigned to one server

    async def _bind(self, driver: ForwardingDriver) -> None:
        tried: set[Name] = set()
        while names := self._balancer.up(tried=tried):
            name: Name = names[0]  # type: ignore[assignment]
            tried.add(name)
            self._balancer.load[name] += 1

            def closed(other: Driver, reason: str, name: Name = name) -> None:
                self._balancer.load[name] -= 1
                if not driver.closed:
                    self._mark_down(name)
                    driver.close(reason)

            try:
                other = await self._open(name, driver, closed)
            except OSError:
                self._balancer.load[name] -= 1
                continue
            join_sessions(driver.session, other.session)
            driver.join(other)
            if driver.closed:  # while connecting upstream
                other.close("the peer closed the connection")
            return
        log.error("refused a client: no server can be reached")
        driver.close("no server can be reached")

    # Clients whose calls are distributed

    def _dial(self, driver: ForwardingDriver, upstream: Upstream) -> None:
        self._run(self._connect(driver, self._spreading[driver], upstream))

    async def _connect(
        self, driver: ForwardingDriver, spreading: Spreading, upstream: Upstream
    ) -> None:
        name: Name = upstream.name  # type: ignore[assignment]

        def closed(other: Driver, reason: str) -> None:
            assert isinstance(other, UpstreamDriver)
            other.unfeed()
            if not driver.closed:
                self._mark_down(name)
            spreading.lost(upstream, reason)
            driver.hold_while(spreading.crowded)

        try:
            other = await self._open(name, driver, closed)
        except OSError as error:
            spreading.lost(upstream, str(error))
            return
        if upstream.closed:  # lost while connecting
            return
        if driver.closed:
            other.close("the client has disconnected")
            return
        upstream.crowded = lambda: other.crowded
        upstream.close = partial(other.close, "the client has disconnected")
        other.on_crowded = lambda: driver.hold_while(spreading.crowded)
        other.feed(driver)
        spreading.opened(upstream, other.session)


def _group(upstream: Endpoint | Group, options: dict[str, Any]) -> Group:
    if isinstance(upstream, Group):
        return upstream
    if (module := remote_module(upstream)) is not None:
        refuse_pipe_options(options)
        return module.Workers(upstream, timeout=options["timeout"])  # type: ignore[no-any-return]
    return _One(upstream, options)


class _One:
    """A group of one fixed server, assumed to be available."""

    def __init__(self, endpoint: Endpoint, options: dict[str, Any]) -> None:
        self._endpoint = endpoint
        self._options = options
        self._label = endpoint if isinstance(endpoint, str) else repr(endpoint)

    async def start(self) -> None:
        """Do nothing: the server is known."""

    async def close(self) -> None:
        """Do nothing: ``start`` began nothing."""

    def names(self) -> Iterable[str]:
        return (self._label,)

    async def open(self, name: str, make_driver: Callable[[], DriverT]) -> DriverT:
        return await open_endpoint(self._endpoint, make_driver, **self._options)

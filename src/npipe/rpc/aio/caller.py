"""Calling the other end of a link, on an event loop: what a client and ``Context.remote`` share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from npipe.errors import ClosedError, ConnectionLost, ProtocolError, RPCError
from npipe.rpc.aio.link import Link
from npipe.rpc.aio.subscribed import Subscribed
from npipe.rpc.caller import QUEUE_SIZE, Entry, decode_result, encode_params
from npipe.rpc.outgoing import Outcome, Outgoing, Pending
from npipe.rpc.subscriptions import Push

__all__ = ["Caller"]


class Caller:
    """Makes calls over one link. Any number of tasks of the loop may use it at once."""

    def __init__(self, link: Link, *, timeout: float | None = None) -> None:
        self._link = link
        self._timeout = timeout

    async def call(
        self,
        method: str,
        /,
        *params: Any,
        named: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        result_type: Any = Any,
        on_progress: Callable[[Any], object] | None = None,
    ) -> Any:
        """Call a method and return its result.

        Parameters go by position, or all by name in ``named``. The result is decoded to
        ``result_type``: any type that msgspec knows, or ``msgspec.Raw`` for the JSON as it came.
        After ``timeout`` seconds, or when the task is cancelled, the call is cancelled on the wire
        and TimeoutError or CancelledError raised; what still comes is dropped. ``on_progress``
        gets what the server reports meanwhile.

        Raises RPCError as the server answered, ConnectionLost, TimeoutError, ProtocolError for
        an answer that is no JSON-RPC or not of ``result_type``.
        """
        link = self._link
        if link.crowded:
            await link.room()
        reply: asyncio.Future[Outcome] = link.loop.create_future()
        hear = None if on_progress is None else partial(_hear, on_progress)
        pending = self._outgoing.call(
            method, encode_params(params, named), partial(_settle, reply), hear
        )
        return decode_result(await self._reply(reply, [pending], timeout), result_type)

    async def notify(
        self, method: str, /, *params: Any, named: Mapping[str, Any] | None = None
    ) -> None:
        """Send a notification: nothing is answered, nothing is known of what became of it."""
        await self._link.room()
        self._outgoing.notify(method, encode_params(params, named))

    async def batch(
        self, entries: Iterable[Entry], *, timeout: float | None = None, result_type: Any = Any
    ) -> list[Any]:
        """Make many calls in one message; return their results in order.

        ``entries`` are ``(method, params)``. What failed is an exception in its place, so that
        the other results are not lost; only a timeout of the whole is raised.
        """
        link = self._link
        if link.crowded:
            await link.room()
        replies: list[asyncio.Future[Outcome]] = []
        parts: list[tuple[str, bytes, Callable[[Outcome], object]]] = []
        for method, params in entries:
            named = params if isinstance(params, Mapping) else None
            positional = () if named is not None else tuple(params)
            reply: asyncio.Future[Outcome] = link.loop.create_future()
            replies.append(reply)
            parts.append((method, encode_params(positional, named), partial(_settle, reply)))
        if not parts:
            return []
        pendings = self._outgoing.batch(parts)
        outcomes = await self._reply(asyncio.gather(*replies), pendings, timeout)
        return [_result_or_error(self._own(outcome), result_type) for outcome in outcomes]

    async def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: Any = Any,
        queue_size: int = QUEUE_SIZE,
    ) -> Subscribed:
        """Subscribe, and return an asynchronous iterator over what is pushed.

        At most ``queue_size`` items wait for the program to take them; when one more comes, the
        subscription ends and the iterator raises, after the items that it has.
        """
        link = self._link
        await link.room()
        outgoing = self._outgoing

        def unsubscribe(id: bytes) -> None:
            outgoing.forget_subscription(id)
            with contextlib.suppress(ConnectionLost):
                outgoing.call(f"{namespace}_unsubscribe", b"[" + id + b"]", lambda outcome: None)

        def push(item: Push | Exception) -> None:
            subscribed.push(self._own(item))

        subscribed = Subscribed(partial(decode_result, kind=result_type), queue_size, unsubscribe)
        reply: asyncio.Future[Outcome] = link.loop.create_future()
        pending = outgoing.subscribe(
            namespace, encode_params((name, *params), None), push, partial(_settle, reply)
        )
        subscribed.begin(decode_result(await self._reply(reply, [pending], timeout), Raw))
        return subscribed

    async def modules(self, *, timeout: float | None = None) -> dict[str, str]:
        """Return the namespaces of the server and their versions."""
        try:
            return await self.call("rpc_modules", timeout=timeout, result_type=dict[str, str])  # type: ignore[no-any-return]
        except RPCError as error:
            if error.code != -32601:
                raise
            return await self.call("modules", timeout=timeout, result_type=dict[str, str])  # type: ignore[no-any-return]

    @property
    def _outgoing(self) -> Outgoing:
        if self._link.closed_here:
            raise ClosedError("client")
        if self._link.transport.is_closing():
            raise ConnectionLost("the connection has ended", maybe_executed=False)
        return self._link.session.outgoing

    async def _reply(
        self, reply: asyncio.Future[Any], pendings: list[Pending], timeout: float | None
    ) -> Any:
        timeout = self._timeout if timeout is None else timeout
        try:
            if timeout is None:
                outcome = await reply
            else:
                async with asyncio.timeout(timeout):
                    outcome = await reply
        except TimeoutError:
            self._give_up(pendings)
            raise TimeoutError(f"no answer within {timeout} seconds") from None
        except asyncio.CancelledError:
            self._give_up(pendings)
            raise
        return self._own(outcome)

    def _own(self, outcome: Any) -> Any:
        """Return an outcome as the program on this side sees it: it may have closed it itself."""
        if isinstance(outcome, ConnectionLost) and self._link.closed_here:
            return ClosedError("client")
        return outcome

    def _give_up(self, pendings: list[Pending]) -> None:
        for pending in pendings:
            self._link.session.outgoing.cancel(pending)


def _settle(reply: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not reply.done():
        reply.set_result(outcome)


def _hear(on_progress: Callable[[Any], object], value: Raw) -> None:
    on_progress(msgspec.json.decode(value) if value else None)


def _result_or_error(outcome: Outcome, kind: Any) -> Any:
    try:
        return decode_result(outcome, kind)
    except (RPCError, ProtocolError, ConnectionLost, ClosedError) as error:
        return error

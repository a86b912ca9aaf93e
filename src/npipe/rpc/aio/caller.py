"""Calling the other end of a link, on an event loop: what a client and ``Context.remote`` share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw

from npipe.errors import ConnectionLost, RPCError
from npipe.rpc.aio.driver import Driver
from npipe.rpc.aio.subscription import ClientSubscription
from npipe.rpc.session.pending_calls import Outcome, Pending
from npipe.rpc.session.served_subscriptions import Push
from npipe.rpc.threads.caller import (
    QUEUE_SIZE,
    Entry,
    decode_result,
    decode_results,
    encode_params,
)

__all__ = ["Caller"]

Reply = asyncio.Future[list[Outcome]]
Deadline = tuple[float, float] | None
"""The loop's time at which it is over, and the seconds that it was."""


class Caller:
    """Makes calls over one link. Any number of tasks of the loop may use it at once."""

    def __init__(self, link: Driver, *, timeout: float | None = None) -> None:
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
        idempotent: bool = False,
    ) -> Any:
        """Call a method and return its result.

        Parameters go by position, or all by name in ``named``. The result is decoded to
        ``result_type``: any type that msgspec knows, or ``msgspec.Raw`` for the JSON as it came.
        After ``timeout`` seconds, or when the task is cancelled, the call is cancelled on the wire
        and TimeoutError or CancelledError raised; what still comes is dropped. ``on_progress``
        gets what the server reports meanwhile. ``idempotent`` says that it does no harm if the
        call happens twice: a client that reconnects may then send it again.

        Raises RPCError as the server answered, ConnectionLost, TimeoutError, ProtocolError for
        an answer that is no JSON-RPC or not of ``result_type``.
        """
        text = encode_params(params, named)
        hear = None if on_progress is None else partial(_hear, on_progress)

        def send(link: Driver) -> tuple[Reply, Pending]:
            reply: Reply = link.loop.create_future()
            on_reply = partial(_settle_one, reply)
            return reply, link.session.outgoing_calls.call(method, text, on_reply, hear)

        (outcome,) = await self._exchange(send, timeout, idempotent)
        return decode_result(outcome, result_type)

    async def notify(
        self, method: str, /, *params: Any, named: Mapping[str, Any] | None = None
    ) -> None:
        """Send a notification: nothing is answered, nothing is known of what became of it."""
        text = encode_params(params, named)
        link = await self._live_link()
        link.session.outgoing_calls.notify(method, text)

    async def batch(
        self,
        entries: Iterable[Entry],
        *,
        timeout: float | None = None,
        result_type: Any = Any,
        idempotent: bool = False,
    ) -> list[Any]:
        """Make many calls in one message; return their results in order.

        ``entries`` are ``(method, params)``. What failed is an exception in its place, so that
        the other results are not lost; only a timeout of the whole is raised.
        """
        calls = list(entries)
        if not calls:
            return []

        def send(link: Driver) -> tuple[Reply, Pending]:
            reply: Reply = link.loop.create_future()
            return reply, link.session.outgoing_calls.batch(calls, partial(_settle, reply))

        outcomes = await self._exchange(send, timeout, idempotent)
        if len(outcomes) < len(calls):  # nothing could be sent at all
            outcomes *= len(calls)
        return decode_results(outcomes, result_type)

    async def subscribe(
        self,
        namespace: str,
        name: str,
        /,
        *params: Any,
        timeout: float | None = None,
        result_type: Any = Any,
        queue_size: int = QUEUE_SIZE,
    ) -> ClientSubscription:
        """Subscribe, and return an asynchronous iterator over what is pushed.

        At most ``queue_size`` items wait for the program to take them; when one more comes, the
        subscription ends and the iterator raises, after the items that it has.
        """
        text = encode_params((name, *params), None)
        deadline = self._deadline(timeout)
        link = await self._live_link(deadline)
        outgoing_calls = link.session.outgoing_calls

        def unsubscribe(id: bytes) -> None:
            outgoing_calls.forget_subscription(id)
            with contextlib.suppress(ConnectionLost):
                outgoing_calls.call(
                    f"{namespace}_unsubscribe", b"[" + id + b"]", lambda outcome: None
                )

        def push(item: Push | Exception) -> None:
            subscribed.push(self._explain_loss(item) if isinstance(item, ConnectionLost) else item)

        subscribed = ClientSubscription(
            partial(decode_result, kind=result_type), queue_size, unsubscribe
        )
        reply: Reply = link.loop.create_future()
        pending = outgoing_calls.subscribe(namespace, text, push, partial(_settle_one, reply))
        (outcome,) = await self._wait(link, reply, pending, deadline)
        if isinstance(outcome, ConnectionLost):
            raise self._explain_loss(outcome)
        subscribed.begin(decode_result(outcome, Raw))
        return subscribed

    async def modules(self, *, timeout: float | None = None) -> dict[str, str]:
        """Return the namespaces of the server and their versions."""
        try:
            return await self.call("rpc_modules", timeout=timeout, result_type=dict[str, str])  # type: ignore[no-any-return]
        except RPCError as error:
            if error.code != -32601:
                raise
            return await self.call("modules", timeout=timeout, result_type=dict[str, str])  # type: ignore[no-any-return]

    def from_thread(self) -> CallerFromThread:
        """Return what makes the same calls from another thread, where they block."""
        return CallerFromThread(self, self._link.loop)

    # What a client does otherwise, which may make a new link

    async def _live_link(self, deadline: Deadline = None) -> Driver:
        """Return the link to use, once the other end has read what was sent before. Raises
        ConnectionLost, TimeoutError."""
        link = self._link
        if link.behind:
            try:
                async with asyncio.timeout_at(deadline and deadline[0]):
                    await link.room()
            except TimeoutError:
                assert deadline is not None
                raise TimeoutError(f"could not be sent within {deadline[1]} seconds") from None
        if link.transport.is_closing():
            raise ConnectionLost("the connection has ended", maybe_executed=False)
        return link

    def _may_send_again(self, lost: list[ConnectionLost], *, idempotent: bool) -> bool:
        return False

    def _pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each time that a call is sent again."""
        return iter(())

    def _explain_loss(self, error: ConnectionLost) -> Exception:
        """Return what the loss of the link is to the program."""
        return error

    # Waiting

    async def _exchange(
        self,
        send: Callable[[Driver], tuple[Reply, Pending]],
        timeout: float | None,
        idempotent: bool,
    ) -> list[Outcome]:
        """Send, and wait for what comes of it; send again where the link was lost and that may
        be. Fewer outcomes than calls: none could be sent."""
        deadline = self._deadline(timeout)
        pauses = self._pauses()
        while True:
            outcomes: list[Outcome]
            try:
                link = await self._live_link(deadline)
                reply, pending = send(link)
            except ConnectionLost as error:
                outcomes = [error]
            else:
                outcomes = await self._wait(link, reply, pending, deadline)
            lost = [error for error in outcomes if isinstance(error, ConnectionLost)]
            if not lost:
                return outcomes
            pause = (
                next(pauses, None) if self._may_send_again(lost, idempotent=idempotent) else None
            )
            if pause is None:
                return [self._explain_loss(o) if o in lost else o for o in outcomes]
            await asyncio.sleep(pause)

    def _deadline(self, timeout: float | None) -> Deadline:
        seconds = self._timeout if timeout is None else timeout
        return None if seconds is None else (self._link.loop.time() + seconds, seconds)

    async def _wait(
        self,
        link: Driver,
        reply: Reply,
        pending: Pending,
        deadline: Deadline,
    ) -> list[Outcome]:
        """Wait for the reply. When it does not come in time: cancel, raise TimeoutError."""
        try:
            if deadline is None:
                return await reply
            async with asyncio.timeout_at(deadline[0]):
                return await reply
        except TimeoutError:
            link.session.outgoing_calls.cancel(pending)
            assert deadline is not None
            raise TimeoutError(f"no answer within {deadline[1]} seconds") from None
        except asyncio.CancelledError:
            link.session.outgoing_calls.cancel(pending)
            raise


class CallerFromThread:
    """A caller as a plain function uses it, in its thread: the same names, nothing to await."""

    def __init__(self, caller: Caller, loop: asyncio.AbstractEventLoop) -> None:
        self._caller = caller
        self._loop = loop

    def call(self, method: str, /, *params: Any, **options: Any) -> Any:
        """See ``Caller.call``."""
        return self._wait(self._caller.call(method, *params, **options))

    def notify(self, method: str, /, *params: Any, named: Mapping[str, Any] | None = None) -> None:
        """See ``Caller.notify``."""
        self._wait(self._caller.notify(method, *params, named=named))

    def batch(self, entries: Iterable[Entry], **options: Any) -> list[Any]:
        """See ``Caller.batch``."""
        return self._wait(self._caller.batch(entries, **options))  # type: ignore[no-any-return]

    def modules(self, *, timeout: float | None = None) -> dict[str, str]:
        """See ``Caller.modules``."""
        return self._wait(self._caller.modules(timeout=timeout))  # type: ignore[no-any-return]

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _settle(reply: Reply, outcomes: list[Outcome]) -> None:
    if not reply.done():
        reply.set_result(outcomes)


def _settle_one(reply: Reply, outcome: Outcome) -> None:
    _settle(reply, [outcome])


def _hear(on_progress: Callable[[Any], object], value: Raw) -> None:
    on_progress(msgspec.json.decode(value) if value else None)

"""Served calls and batches of one connection: functions run, replies of a batch joined.

Sans-I/O: the driver decides where a ``ServedCall`` runs (in the reading thread, in another thread,
as a task). ``session`` decides which message becomes which call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from npipe.errors import RPCError
from npipe.rpc.service.context import Context
from npipe.rpc.service.dispatcher import CANCELLED, TOO_LARGE, Dispatcher, ToThread
from npipe.rpc.service.method import Method
from npipe.rpc.session.atomic import Numbers
from npipe.rpc.session.statistics import Statistics
from npipe.rpc.wire.encoding import Encoding

if TYPE_CHECKING:
    from npipe.security import PeerIdentity

__all__ = ["BatchItem", "ServedBatch", "ServedCall", "Serving"]

log: logging.Logger = logging.getLogger("npipe.rpc")

_now: Final = perf_counter  # compiled code finds it without a look into the module's dict

# What fails a call. KeyboardInterrupt ends the program, and CancelledError a task.
_FAILURES: Final = (Exception, SystemExit)


class ServedBatch:
    """Collects the replies to a batch, in the order of its calls, until the last one."""

    __slots__ = (
        "_count",
        "_encoding",
        "_last",
        "_limit",
        "_parts",
        "_size",
        "_then",
        "after",
        "refused",
        "subscriptions",
    )

    def __init__(
        self,
        items: int,
        limit: int,
        encoding: Encoding,
        then: Callable[[ServedBatch, bytes], None],
    ) -> None:
        self._encoding = encoding
        self._parts = [b""] * items
        self._count = Numbers()  # ``+=`` may lose an addition
        self._last = items + 1  # one for ``end``
        self._size = 0
        self._limit = limit
        self._then = then
        self.subscriptions: list[tuple[int, Any]] = []  # created by its calls
        self.refused: set[int] = set()  # items whose replies did not fit
        self.after: list[Callable[[], object]] = []

    def put(self, at: int, id: bytes, reply: bytes) -> None:
        """Add the reply to item ``at``; empty for a notification. Any thread may call it."""
        if reply:
            self._set(at, id, reply)
        self._count_one()

    def put_at_once(self, at: int, id: bytes, reply: bytes) -> None:
        """Add a reply as ``put`` does, but only in the thread that calls ``end`` afterwards."""
        self._last -= 1
        self._set(at, id, reply)

    def end(self) -> None:
        """Record that all items have been processed or begun. Called once."""
        self._count_one()

    def _set(self, at: int, id: bytes, reply: bytes) -> None:
        self._size += len(reply)
        if self._size > self._limit:
            error = RPCError("the batch's reply is too large", code=TOO_LARGE)
            reply = self._encoding.error_reply(id, error)
            self.refused.add(at)
        self._parts[at] = reply

    def _count_one(self) -> None:
        if self._count.take() == self._last:
            parts = [part for part in self._parts if part]
            self._then(self, self._encoding.batch(parts) if parts else b"")
            for callback in self.after:
                callback()


BatchItem = tuple[ServedBatch, int]
"""The batch of a request, and its index there."""


class Serving(Protocol):
    """The attributes and methods of a session that a served call uses."""

    dispatcher: Dispatcher
    connection_id: int
    name: str
    peer: PeerIdentity | None
    get_remote: Callable[[], Any]
    plain: bool
    to_thread: ToThread | None
    statistics: Statistics
    encoding: Encoding
    write_reply: Callable[[bytes, Any], bytes]

    def send(self, message: bytes) -> None: ...
    def answer(self, call: ServedCall, reply: bytes) -> None: ...


class ServedCall:
    """A request that is being served. ``id`` is empty for a notification."""

    __slots__ = (
        "_after",
        "_callbacks",
        "args",
        "batch",
        "cancelled",
        "code",
        "done",
        "id",
        "method",
        "session",
        "trace",
    )

    def __init__(
        self,
        session: Serving,
        method: Method,
        args: tuple[Any, ...],
        id: bytes,
        batch: BatchItem | None,
        *,
        trace: bytes = b"",
    ) -> None:
        """Make a served call.

        Args:
            session: The session that received the request.
            method: The method.
            args: The bound arguments.
            id: The encoded id of the request.
            batch: The batch and the index of the request in it; None: a single request.
            trace: The result of ``trace_members`` for the request.
        """
        self.session: Serving = session
        self.method: Method = method
        self.args: tuple[Any, ...] = args
        self.id: bytes = id
        self.batch: BatchItem | None = batch
        self.trace: bytes = trace
        self.cancelled: bool = False
        self.done: bool = False
        self.code: int = 0  # error code of the reply
        self._callbacks: list[Callable[[], object]] | None = None
        self._after: list[Callable[[], object]] | None = None

    def run(self) -> None:
        """Call a plain function in this thread, and reply.

        A SystemExit fails the call, like an Exception. Other exceptions are answered and raised.
        """
        if self.cancelled:  # before it began
            self.session.statistics.measure(self.method.name, 0.0)
            self.fail(RPCError("cancelled"))
            return
        session, signature = self.session, self.method.signature
        started = _now()
        try:
            if session.plain and not signature.wants_context:
                result = signature.call(*self.args)
            else:
                result = session.dispatcher.invoke(Context(self), self.method, self.args)
            self._answer(self.session.write_reply(self.id, result) if self.id else b"")
        except BaseException as error:
            self.fail(error)
            if not isinstance(error, _FAILURES):
                raise
        finally:
            session.statistics.measure(self.method.name, _now() - started, self)

    async def run_async(self) -> None:
        """Await an async function, and reply.

        A SystemExit fails the call, like an Exception. A cancellation is answered, then raised.
        """
        started = _now()
        try:
            session, context = self.session, Context(self)
            invoke = session.dispatcher.invoke
            self.finish(await invoke(context, self.method, self.args, session.to_thread))
        except BaseException as error:
            self.fail(error)
            if not isinstance(error, _FAILURES):
                raise
        finally:
            self.session.statistics.measure(self.method.name, _now() - started, self)

    def finish(self, result: Any) -> None:
        """Reply with a result."""
        self._answer(self.session.write_reply(self.id, result) if self.id else b"")

    def fail(self, error: BaseException) -> None:
        """Reply with an error, unless a reply was sent."""
        if self.done:
            return
        if self.cancelled or not isinstance(error, _FAILURES):
            rpc_error = RPCError("the call was cancelled", code=CANCELLED)
        else:
            name = self.method.name
            rpc_error = self.session.dispatcher.to_rpc_error(
                name, self.session.connection_id, error
            )
        self.code = rpc_error.code
        self.session.statistics.errors += 1
        self.session.statistics.count_error(self.method.name, rpc_error.code)
        self._answer(self.session.encoding.error_reply(self.id, rpc_error) if self.id else b"")

    def _answer(self, reply: bytes) -> None:
        if not self.done:
            self.done = True
            if self._after is None:
                self.session.answer(self, reply)
            elif self.batch is not None:  # the reply is sent with those of the batch
                self.batch[0].after += self._after
                self.session.answer(self, reply)
            else:
                self.session.answer(self, reply)
                for callback in self._after:
                    callback()

    def progress(self, value: Any) -> None:
        """See ``Context.progress``. Nothing is sent for a notification or after the reply."""
        if self.id and not self.done:
            encoding = self.session.encoding
            self.session.send(encoding.progress(self.id, encoding.encode(value)))

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """See ``Context.on_cancel``."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)
        if self.cancelled:
            self._run_callbacks()

    def on_reply(self, callback: Callable[[], object]) -> None:
        """See ``Context.on_reply``. Only the thread of the function calls it, while it runs."""
        if self._after is None:
            self._after = []
        self._after.append(callback)

    def cancel(self) -> None:
        """Mark the call as cancelled and run its callbacks.

        The function itself is not interrupted.
        """
        self.cancelled = True
        self._run_callbacks()

    def _run_callbacks(self) -> None:
        # pop() is atomic: each callback runs once, even if several threads cancel
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:
                return
            try:
                callback()
            except Exception:
                log.exception(
                    "connection %06d: a cancel callback failed", self.session.connection_id
                )

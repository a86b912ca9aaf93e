"""The calls that one end of a connection serves: each runs a function and sends its reply.

Sans-I/O: the driver decides where a ``ServedCall`` runs (in the reading thread, in another thread,
as a task). ``session`` decides which message becomes which call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from npipe.errors import RPCError
from npipe.rpc.service.api import Method
from npipe.rpc.service.context import Context
from npipe.rpc.service.dispatcher import CANCELLED, TOO_LARGE, Dispatcher, ToThread
from npipe.rpc.wire.encoding import Encoding

if TYPE_CHECKING:
    from npipe.security import PeerIdentity

__all__ = ["ServedBatch", "ServedCall", "Serving"]

log = logging.getLogger("npipe.rpc")


class ServedBatch:
    """Collects the replies to a batch, in its order, until the last one is in."""

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
        self._count = count(1)  # next() is one step for every thread, += is not
        self._last = items
        self._size = 0
        self._limit = limit
        self._then = then
        self.subscriptions: list[tuple[int, Any]] = []  # made by its items
        self.refused: set[int] = set()  # items whose replies did not fit
        self.after: list[Callable[[], object]] = []

    def put(self, at: int, id: bytes, reply: bytes) -> None:
        """Take the reply to item ``at``; empty for a notification."""
        if reply:
            self._size += len(reply)
            if self._size > self._limit:
                error = RPCError("the batch's reply is too large", code=TOO_LARGE)
                reply = self._encoding.error_reply(id, error)
                self.refused.add(at)
            self._parts[at] = reply
        if next(self._count) == self._last:
            parts = [part for part in self._parts if part]
            self._then(self, self._encoding.batch(parts) if parts else b"")
            for callback in self.after:
                callback()


class Serving(Protocol):
    """The session that a call belongs to, as the call sees it."""

    dispatcher: Dispatcher
    connection_id: int
    name: str
    peer: PeerIdentity | None
    remote: Any
    plain: bool
    to_thread: ToThread | None
    errors: int
    encoding: Encoding
    write_reply: Callable[[bytes, Any], bytes]

    def send(self, message: bytes) -> None: ...
    def answer(self, call: ServedCall, reply: bytes) -> None: ...
    def measure(self, method: Method, seconds: float, call: ServedCall | None = None) -> None: ...
    def count_error(self, name: str, code: int) -> None: ...


class ServedCall:
    """One request that is being served. ``id`` is empty for a notification."""

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
        batch: tuple[ServedBatch, int] | None,
        *,
        trace: bytes = b"",
    ) -> None:
        """``trace`` is what ``trace_members`` found in the request."""
        self.session = session
        self.method = method
        self.args = args
        self.id = id
        self.batch = batch
        self.trace = trace
        self.cancelled = False
        self.done = False
        self.code = 0  # of the error that it was answered with
        self._callbacks: list[Callable[[], object]] | None = None
        self._after: list[Callable[[], object]] | None = None

    def run(self) -> None:
        """Call a plain function here, and answer. Raises only what is no Exception."""
        if self.cancelled:  # while it waited for its turn
            self.session.measure(self.method, 0.0)
            self.fail(RPCError("cancelled"))
            return
        session, signature = self.session, self.method.signature
        started = perf_counter()
        try:
            if session.plain and not signature.wants_context:
                result = signature.call(*self.args)
            else:
                result = session.dispatcher.invoke(Context(self), self.method, self.args)
            self._answer(self.session.write_reply(self.id, result) if self.id else b"")
        except BaseException as error:
            self.fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            session.measure(self.method, perf_counter() - started, self)

    async def run_async(self) -> None:
        """Await an async function, and answer. When cancelled: answers that, and lets it pass."""
        started = perf_counter()
        try:
            session, context = self.session, Context(self)
            invoke = session.dispatcher.invoke
            self.finish(await invoke(context, self.method, self.args, session.to_thread))
        except BaseException as error:
            self.fail(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self.session.measure(self.method, perf_counter() - started, self)

    def finish(self, result: Any) -> None:
        """Answer with a result."""
        self._answer(self.session.write_reply(self.id, result) if self.id else b"")

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        if self.done:
            return
        if self.cancelled or not isinstance(error, Exception):
            rpc_error = RPCError("the call was cancelled", code=CANCELLED)
        else:
            name = self.method.name
            rpc_error = self.session.dispatcher.to_rpc_error(
                name, self.session.connection_id, error
            )
        self.code = rpc_error.code
        self.session.errors += 1
        self.session.count_error(self.method.name, rpc_error.code)
        self._answer(self.session.encoding.error_reply(self.id, rpc_error) if self.id else b"")

    def _answer(self, reply: bytes) -> None:
        if not self.done:
            self.done = True
            if self._after is None:
                self.session.answer(self, reply)
            elif self.batch is not None:  # the reply goes out with the batch's
                self.batch[0].after += self._after
                self.session.answer(self, reply)
            else:
                self.session.answer(self, reply)
                for callback in self._after:
                    callback()

    def progress(self, value: Any) -> None:
        """See ``Context.progress``. Nothing is sent for a notification or after the answer."""
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
        """See ``Context.on_reply``. To be called while the function runs, by its own thread."""
        if self._after is None:
            self._after = []
        self._after.append(callback)

    def cancel(self) -> None:
        """Say that the answer is no longer wanted. The function goes on until it notices."""
        self.cancelled = True
        self._run_callbacks()

    def _run_callbacks(self) -> None:
        # popping is one step: each callback runs once, whichever threads get here
        while self._callbacks:
            try:
                callback = self._callbacks.pop()
            except IndexError:
                return
            try:
                callback()
            except Exception:
                log.exception("connection %06d: a cancel callback", self.session.connection_id)

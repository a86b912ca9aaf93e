"""A request to a call of your function, and its outcome to the bytes of a reply.

Sans-I/O: a ``Call`` runs where the shell lets it run (in this thread, in another, as a task) and
hands its reply to whoever made it. Which message becomes which call is for ``session``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from npipe.errors import InternalError, RPCError
from npipe.rpc.service.api import API, Method
from npipe.rpc.service.context import Context

if TYPE_CHECKING:
    pass

__all__ = ["CANCELLED", "LIMIT_EXCEEDED", "TOO_LARGE", "Dispatcher", "Middleware", "ToThread"]

log = logging.getLogger("npipe.rpc")

Middleware = Callable[[Context, Callable[[], Any]], Any]
"""``middleware(context, proceed)`` returns ``proceed()``, or something in its place, or raises.
For an ``async def`` handler ``proceed()`` gives an awaitable, and the middleware may too; for a
subscription the iterator of its items, asked for before the client gets its id. Once one layer is
``async def``, every call is awaited: ``proceed()`` gives an awaitable in each layer, and that for
a subscription is awaited after the client got its id, so a refusal is an error pushed."""

ToThread = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a plain function where it holds up nobody."""

# The codes of our own, beyond the five of the specification.
TOO_LARGE = -32003  # geth's
LIMIT_EXCEEDED = -32005  # EIP-1474's name for it
CANCELLED = -32800  # the Language Server Protocol's RequestCancelled


class Dispatcher:
    """An API together with how its calls are made and its failures told. Shared, never changed."""

    def __init__(
        self,
        api: API,
        *,
        middleware: Iterable[Middleware] = (),
        show_errors: bool = False,
        error_code: int = InternalError.code,
        log_calls: bool = False,
    ) -> None:
        """``show_errors`` sends the text of unexpected exceptions to the caller: for development.
        ``error_code`` is what they are answered with. ``log_calls``: see ``session.call_log``."""
        self.api = api
        self.middleware = tuple(middleware)
        self.show_errors = show_errors
        self.error_code = error_code
        self.log_calls = log_calls
        self.is_async = any(map(_is_async, self.middleware))  # so every call is to be awaited

    def invoke(
        self,
        context: Context,
        method: Method,
        args: tuple[Any, ...],
        to_thread: ToThread | None = None,
    ) -> Any:
        """Call the function, through the middleware. Async ones give an awaitable, and so do all
        where the middleware is async; ``to_thread`` then runs a plain one elsewhere."""
        if method.signature.wants_context:
            args = (context, *args)
        proceed: Callable[[], Any] = partial(method.signature.call, *args)
        is_generator = method.kind == "generator"  # to call one is to compute nothing yet
        if self.is_async and (is_generator or not method.is_async):
            if to_thread is None or is_generator or method.options.inline:
                to_thread = _now
            proceed = partial(to_thread, proceed)
        for layer in reversed(self.middleware):
            proceed = partial(layer, context, proceed)
        return proceed()

    def to_rpc_error(self, method: str, connection_id: int, error: BaseException) -> RPCError:
        """Turn what a function raised into what the caller is told. Logs what it is not told."""
        if isinstance(error, RPCError):
            return error
        log.error("connection %06d: %s failed", connection_id, method, exc_info=error)
        text = f"{type(error).__name__}: {error}" if self.show_errors else "internal error"
        return RPCError(text, code=self.error_code)


def _is_async(layer: Middleware) -> bool:
    return inspect.iscoroutinefunction(layer) or inspect.iscoroutinefunction(type(layer).__call__)


async def _now(function: Callable[[], Any]) -> Any:
    return function()

"""Dispatcher: call the function of a request through the middleware, and map its exceptions.

Sans-I/O. The driver decides where a call runs (in the reading thread, in another thread, as a
task); ``session`` decides which message becomes which call.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from npipe.errors import InternalError, RPCError
from npipe.rpc.service.api import API
from npipe.rpc.service.context import Context
from npipe.rpc.service.method import Method

if TYPE_CHECKING:
    pass

__all__ = ["CANCELLED", "LIMIT_EXCEEDED", "TOO_LARGE", "Dispatcher", "Middleware", "ToThread"]

log: logging.Logger = logging.getLogger("npipe.rpc")

Middleware = Callable[[Context, Callable[[], Any]], Any]
"""``middleware(context, proceed)`` returns ``proceed()`` or another result, or raises. For an
``async def`` handler ``proceed()`` returns an awaitable, and so may the middleware. For a
subscription it returns the iterator of the items, before the client receives the subscription id.
If one layer is ``async def``, every call is awaited: ``proceed()`` returns an awaitable in each
layer, and that of a subscription is awaited after the client has received its id, so an exception
is sent as an error notification."""

ToThread = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a plain function in a thread and returns an awaitable of its result."""

# Error codes beyond those of JSON-RPC 2.0, section 5.1.
TOO_LARGE = -32003  # as geth
LIMIT_EXCEEDED = -32005  # EIP-1474
CANCELLED = -32800  # RequestCancelled of the Language Server Protocol


class Dispatcher:
    """An API with its middleware and its error settings. Immutable; shared by all connections."""

    def __init__(
        self,
        api: API,
        *,
        middleware: Iterable[Middleware] = (),
        show_errors: bool = False,
        error_code: int = InternalError.code,
        log_calls: bool = False,
    ) -> None:
        """Make a dispatcher.

        Args:
            api: The functions to serve.
            middleware: Called around each call; the first one is the outermost.
            show_errors: Send the text of unexpected exceptions to the caller, for development.
            error_code: The error code of the reply to an unexpected exception.
            log_calls: Log each call; see ``session.call_log``.
        """
        self.api = api
        self.middleware: tuple[Middleware, ...] = tuple(middleware)
        self.show_errors = show_errors
        self.error_code = error_code
        self.log_calls = log_calls
        self.is_async: bool = any(map(_is_async, self.middleware))  # if so, every call is awaited

    def invoke(
        self,
        context: Context,
        method: Method,
        args: tuple[Any, ...],
        to_thread: ToThread | None = None,
    ) -> Any:
        """Call the function of a method through the middleware.

        Returns an awaitable for an async function, and for every call if the middleware is async;
        ``to_thread`` then runs a plain function in a thread.
        """
        if method.signature.wants_context:
            args = (context, *args)
        proceed: Callable[[], Any] = partial(method.signature.call, *args)
        is_generator = method.kind == "generator"  # calling it runs none of its code yet
        if self.is_async and (is_generator or not method.is_async):
            if to_thread is None or is_generator or method.options.inline:
                to_thread = _now
            proceed = partial(to_thread, proceed)
        for layer in reversed(self.middleware):
            proceed = partial(layer, context, proceed)
        return proceed()

    def to_rpc_error(self, method: str, connection_id: int, error: BaseException) -> RPCError:
        """Convert a function's exception to the caller's error. Logs unexpected exceptions."""
        if isinstance(error, RPCError):
            return error
        log.error("connection %06d: %s failed", connection_id, method, exc_info=error)
        text = f"{type(error).__name__}: {error}" if self.show_errors else "internal error"
        return RPCError(text, code=self.error_code)


def _is_async(layer: Middleware) -> bool:
    return inspect.iscoroutinefunction(layer) or inspect.iscoroutinefunction(type(layer).__call__)


async def _now(function: Callable[[], Any]) -> Any:
    return function()

"""The decorators of served functions: ``rpc.method`` and ``rpc.subscription``.

A decorator only stores its options on the function; ``API.register`` reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

__all__ = ["MARK", "Options", "check_concurrency", "method", "subscription"]

Function = TypeVar("Function", bound=Callable[..., Any])
MARK = "__npipe_rpc__"


@dataclass(frozen=True, slots=True)
class Options:
    """The options given to a decorator."""

    name: str | None = None
    inline: bool | None = None
    concurrency: int | None = None
    subscription: bool = False


@overload
def method(function: Function, /) -> Function: ...
@overload
def method(
    *, name: str | None = None, inline: bool | None = None, concurrency: int | None = None
) -> Callable[[Function], Function]: ...
def method(
    function: Function | None = None,
    /,
    *,
    name: str | None = None,
    inline: bool | None = None,
    concurrency: int | None = None,
) -> Function | Callable[[Function], Function]:
    """Set options of a served function.

    Args:
        function: The function. Omitted where the decorator is used with arguments.
        name: The method name after ``namespace_``, in place of the function's own name.
        inline: True: the function only computes, and briefly, so it runs directly where the
            request is read. False: it always runs in a thread of its own. None: a plain function
            never delays other connections, and delays its own for some milliseconds at most.
        concurrency: The largest number of calls of the function that run at the same time.

    Returns:
        The function; a decorator if ``function`` is omitted.

    Raises:
        ValueError: ``concurrency`` is less than 1.
    """
    return _marker(Options(name, inline, check_concurrency(concurrency)), function)


@overload
def subscription(function: Function, /) -> Function: ...
@overload
def subscription(*, name: str | None = None) -> Callable[[Function], Function]: ...
def subscription(
    function: Function | None = None, /, *, name: str | None = None
) -> Function | Callable[[Function], Function]:
    """Serve a generator, plain or async, as a subscription of its namespace.

    A client calls ``<namespace>_subscribe`` with ``[name, *params]``; each yielded item becomes a
    ``<namespace>_subscription`` notification, as in geth's pub/sub.

    A plain function annotated to return an ``Iterator`` or ``AsyncIterator`` works too. It is
    called before the client receives the subscription id: an exception becomes the error reply, and
    events of a source to which it subscribes before it returns are not missed.

    Args:
        function: The generator. Omitted where the decorator is used with arguments.
        name: The name of the subscription, in place of the function's own name.

    Returns:
        The function; a decorator if ``function`` is omitted.
    """
    return _marker(Options(name, subscription=True), function)


def check_concurrency(concurrency: int | None) -> int | None:
    """Return a valid ``concurrency``. Raises ValueError."""
    if concurrency is not None and concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    return concurrency


def _marker(
    options: Options, function: Function | None
) -> Function | Callable[[Function], Function]:
    def mark(target: Function) -> Function:
        setattr(target, MARK, options)
        return target

    return mark if function is None else mark(function)

"""Registry of the served functions and their names.

Sans-I/O. A namespace and a method of an object become ``namespace_methodName`` (the rule of
geth). ``binding`` turns params into arguments; ``dispatcher`` calls the functions::

    class Calculator:
        def add_up(self, *numbers: int) -> int: ...

    api = API()
    api.register("calc", Calculator())        # serves calc_addUp
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, get_origin, overload

from npipe.rpc.service.binding import (
    ErrorFormatter,
    Signature,
    default_error_text,
    inspect_function,
)
from npipe.rpc.service.context import Context
from npipe.rpc.service.decorators import MARK, Options, check_concurrency
from npipe.rpc.service.method import Method, camel_case, public_functions
from npipe.rpc.service.seed_api import SeedAPI, seed_method

if TYPE_CHECKING:
    from npipe.security import PeerIdentity

__all__ = ["API"]

Function = TypeVar("Function", bound=Callable[..., Any])
Allow = Callable[["PeerIdentity"], bool]
_ITERATORS = (Iterator, Generator)
_ASYNC_ITERATORS = (AsyncIterator, AsyncGenerator)
MAX_NAME = 2048  # characters of a method name, as in geth


@dataclass(slots=True)
class ServedNamespace:
    """A namespace: its name, its version and the check of the peers that may use it."""

    name: str
    version: str
    allow: Allow | None


class API:
    """The functions that a server offers. Register them before the first client connects."""

    def __init__(self) -> None:
        self.methods: dict[str, Method] = {}
        self.subscriptions: dict[tuple[str, str], Method] = {}
        self.namespaces: dict[str, ServedNamespace] = {}
        self._owner: dict[str, str] = {}
        self._add_own()

    def register(
        self,
        namespace: str,
        target: object,
        *,
        version: str = "1.0",
        allow: Allow | None = None,
        format_error: ErrorFormatter = default_error_text,
    ) -> None:
        """Serve the public methods of an object, functions of a module or mapping, or one function.

        ``some_name`` becomes ``<namespace>_someName``; with the namespace "", ``someName``. A
        namespace may be registered in several parts.

        Args:
            namespace: The name before the ``_``; may be "".
            target: An instance, a module, a mapping from names to functions, or a function.
            version: The version that ``rpc_modules`` reports for the namespace.
            allow: Called with the identity of a peer; returns whether it may use the namespace. To
                other peers its methods do not exist (-32601). None: all peers.
            format_error: Formats the message of -32602 for wrong params; see
                ``binding.ErrorFormatter``. The params of a subscription are passed without its
                name.

        Raises:
            ValueError: The name is taken, or ``target`` has no public function.
            TypeError: ``target`` is a class, or the signature of a function cannot be served.
        """
        if isinstance(target, type):
            raise TypeError(f"register an instance of {target.__name__}, not the class")
        found = public_functions(target)
        if not found:
            raise ValueError(f"no public function in {target!r}")
        self._open(namespace, version, allow)
        for name, function in found.items():
            self._add(namespace, name, function, format_error)

    @overload
    def method(self, function: Function, /) -> Function: ...
    @overload
    def method(
        self,
        name: str,
        /,
        *,
        inline: bool | None = None,
        concurrency: int | None = None,
    ) -> Callable[[Function], Function]: ...
    def method(
        self,
        name: str | Function,
        /,
        *,
        inline: bool | None = None,
        concurrency: int | None = None,
    ) -> Function | Callable[[Function], Function]:
        """Serve the decorated function.

        Args:
            name: The full name, such as "calc_add"; the part before the first ``_`` is its
                namespace. ``@api.method`` without parentheses uses the function's own name.
            inline: As for ``rpc.method``.
            concurrency: As for ``rpc.method``.

        Returns:
            A decorator; the function where ``name`` is the function itself.

        Raises:
            ValueError: The name is taken.
            TypeError: The function cannot be served because of its signature.
        """
        if not isinstance(name, str):
            return self.method(name.__name__)(name)
        options = Options(inline=inline, concurrency=check_concurrency(concurrency))

        def add(function: Function) -> Function:
            namespace, _, own = name.partition("_")
            if not (namespace and own):
                namespace, own = "", name
            self._open(namespace, None, None)
            self._add(namespace, own, function, default_error_text, replace(options, name=own))
            return function

        return add

    def merge(self, other: SeedAPI) -> None:
        """Serve an object with the interface of npipe's first version, ``SeedAPI``.

        Args:
            other: The object.

        Raises:
            ValueError: A name is taken.
        """
        self._open(other.name, other.version, None)
        for name in other.methods():
            self._put(other.name, seed_method(other, name))

    def modules(self, peer: PeerIdentity | None = None) -> dict[str, str]:
        """Return the namespaces that a peer may use.

        Args:
            peer: The identity of the peer; None: unknown.

        Returns:
            The version of each namespace, by its name.
        """
        return {n.name: n.version for n in self.namespaces.values() if n.name and _may_use(n, peer)}

    def table(self, peer: PeerIdentity | None) -> dict[str, Method]:
        """Return the methods that a peer may call.

        Args:
            peer: The identity of the peer; None: unknown.

        Returns:
            Each method by its full name.
        """
        barred = {n.name for n in self.namespaces.values() if not _may_use(n, peer)}
        if not barred:
            return self.methods
        return {k: m for k, m in self.methods.items() if self._owner[k] not in barred}

    def _open(self, name: str, version: str | None, allow: Allow | None) -> None:
        space = self.namespaces.setdefault(name, ServedNamespace(name, version or "1.0", allow))
        space.version, space.allow = version or space.version, allow or space.allow

    def _add(
        self,
        namespace: str,
        name: str,
        function: Callable[..., Any],
        format_error: ErrorFormatter,
        given: Options | None = None,
    ) -> None:
        options: Options = given if given is not None else getattr(function, MARK, Options())
        name = options.name or camel_case(name)
        signature = inspect_function(function, Context, format_error)
        if options.subscription:
            self._add_subscription(namespace, name, function, signature, options)
            return
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{name} is a generator: mark it with @rpc.subscription")
        is_async = inspect.iscoroutinefunction(function)
        full = f"{namespace}_{name}" if namespace else name
        self._put(namespace, Method(full, signature, options, is_async, function))

    def _put(self, namespace: str, method: Method) -> None:
        if method.name in self.methods:
            raise ValueError(f"{method.name} is registered already")
        if method.name.startswith("rpc.") and namespace != "rpc":
            raise ValueError(f"{method.name}: names that start with rpc. are JSON-RPC's own")
        if len(method.name) > MAX_NAME:
            raise ValueError(
                f"{method.name[:40]}...: a method name has at most {MAX_NAME} characters"
            )
        self.methods[method.name] = method
        self._owner[method.name] = namespace

    def _add_subscription(
        self,
        namespace: str,
        name: str,
        function: Callable[..., Any],
        signature: Signature,
        options: Options,
    ) -> None:
        returns = get_origin(signature.returns) or signature.returns
        is_async = inspect.isasyncgenfunction(function) or returns in _ASYNC_ITERATORS
        if not (is_async or inspect.isgeneratorfunction(function) or returns in _ITERATORS):
            raise TypeError(f"{name}: a subscription is a generator, plain or async")
        if (namespace, name) in self.subscriptions:
            raise ValueError(f"the subscription {name} of {namespace} is registered already")
        # The name in middleware and in the log: the called method and the subscription.
        called = f"{namespace}_subscribe {name}"
        self.subscriptions[namespace, name] = Method(
            called, signature, options, is_async, function, "generator"
        )
        for kind in ("subscribe", "unsubscribe"):
            full = f"{namespace}_{kind}"
            if full not in self.methods:
                stand_in = _subscribe if kind == "subscribe" else _unsubscribe
                own = Method(
                    full, inspect_function(stand_in, Context), Options(), False, stand_in, kind
                )
                self._put(namespace, own)

    def _add_own(self) -> None:
        self._open("rpc", "1.0", None)

        def modules(context: Context) -> dict[str, str]:
            """Return the namespaces of this server and their versions."""
            return self.modules(context.peer)

        def discover(context: Context) -> dict[str, Any]:
            """Return the OpenRPC document of this server."""
            from npipe.rpc.service.openrpc import document

            return document(self.table(context.peer))

        for name, function in {
            "modules": modules,
            "rpc_modules": modules,
            "rpc.discover": discover,
        }.items():
            signature = inspect_function(function, Context)
            self._put("rpc", Method(name, signature, Options(inline=True), False, function))


def _subscribe(name: str, *params: Any) -> str:  # type: ignore[empty-body]
    """Start a subscription of this namespace; return its id."""


def _unsubscribe(id: str) -> bool:  # type: ignore[empty-body]
    """End a subscription."""


def _may_use(space: ServedNamespace, peer: PeerIdentity | None) -> bool:
    return space.allow is None or (peer is not None and space.allow(peer))

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
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, get_origin, overload

from msgspec import Raw

from npipe.rpc.service.binding import Complain, Signature, in_msgspecs_words, inspect_function
from npipe.rpc.service.context import Context

if TYPE_CHECKING:
    from npipe.security import PeerIdentity

__all__ = ["API", "Method", "Request", "camel_case", "method", "subscription"]

Function = TypeVar("Function", bound=Callable[..., Any])
Allow = Callable[["PeerIdentity"], bool]
MARK = "__npipe_rpc__"
_ITERATORS = (Iterator, Generator)
_ASYNC_ITERATORS = (AsyncIterator, AsyncGenerator)
MAX_NAME = 2048  # characters of a method name, as in geth


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
            never delays other connections, and its own only for some milliseconds.
        concurrency: The largest number of calls of the function that run at the same time.

    Returns:
        The function; a decorator if ``function`` is omitted.

    Raises:
        ValueError: ``concurrency`` is less than 1.
    """
    return _marker(Options(name, inline, _check_concurrency(concurrency)), function)


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
    no event is missed of a source that it has begun to listen to.

    Args:
        function: The generator. Omitted where the decorator is used with arguments.
        name: The name of the subscription, in place of the function's own name.

    Returns:
        The function; a decorator if ``function`` is omitted.
    """
    return _marker(Options(name, subscription=True), function)


def _check_concurrency(concurrency: int | None) -> int | None:
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


@dataclass(slots=True, eq=False)
class Method:
    """A served function. ``slow`` is set once a call of it has taken long."""

    name: str
    signature: Signature
    options: Options
    is_async: bool
    function: Callable[..., Any]
    kind: str = "method"  # or "subscribe", "unsubscribe", "generator"
    slow: bool = False
    fast: bool = field(init=False)  # may be called directly, without a thread or a context
    own_thread: bool = field(init=False)  # always runs in a thread of its own

    def __post_init__(self) -> None:
        plain = not (self.is_async or self.signature.wants_context)
        self.fast = plain and self.options.inline is True and self.options.concurrency is None
        self.own_thread = self.options.inline is False or self.options.concurrency is not None

    @property
    def documentation(self) -> str:
        """The docstring of the function; "" if it has none."""
        return inspect.getdoc(self.function) or ""


class SeedAPI(Protocol):
    """The older shape of an API object, which ``API.merge`` accepts: four members."""

    name: str
    version: str

    def methods(self) -> list[str]: ...
    def execute(self, request: Request, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Request:
    """The argument of ``SeedAPI.execute``. ``params`` is the JSON as received, or empty."""

    method: str
    params: bytes
    id: bytes = b"null"
    jsonrpc: str = "2.0"


@dataclass(slots=True)
class Namespace:
    """A namespace: its name, its version and the check of the peers that may use it."""

    name: str
    version: str
    allow: Allow | None


class API:
    """The functions that a server offers. Register them before the first client connects."""

    def __init__(self) -> None:
        self.methods: dict[str, Method] = {}
        self.subscriptions: dict[tuple[str, str], Method] = {}
        self.namespaces: dict[str, Namespace] = {}
        self._owner: dict[str, str] = {}
        self._add_own()

    def register(
        self,
        namespace: str,
        target: object,
        *,
        version: str = "1.0",
        allow: Allow | None = None,
        complain: Complain = in_msgspecs_words,
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
            complain: Formats the message of -32602 for wrong params; see ``binding.Complain``. The
                params of a subscription are passed without its name.

        Raises:
            ValueError: The name is taken, or ``target`` has no public function.
            TypeError: ``target`` is a class, or the signature of a function cannot be served.
        """
        if isinstance(target, type):
            raise TypeError(f"register an instance of {target.__name__}, not the class")
        found = _functions(target)
        if not found:
            raise ValueError(f"there is no public function in {target!r}")
        self._open(namespace, version, allow)
        for name, function in found.items():
            self._add(namespace, name, function, complain)

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
        options = Options(inline=inline, concurrency=_check_concurrency(concurrency))

        def add(function: Function) -> Function:
            namespace, _, own = name.partition("_")
            if not (namespace and own):
                namespace, own = "", name
            self._open(namespace, None, None)
            self._add(namespace, own, function, in_msgspecs_words, replace(options, name=own))
            return function

        return add

    def merge(self, other: SeedAPI) -> None:
        """Serve an object of the older shape: the names of ``methods()``, each by ``execute``.

        Args:
            other: The object.

        Raises:
            ValueError: A name is taken.
        """
        self._open(other.name, other.version, None)
        for name in other.methods():
            self._put(other.name, _seed_method(other, name))

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
        space = self.namespaces.setdefault(name, Namespace(name, version or "1.0", allow))
        space.version, space.allow = version or space.version, allow or space.allow

    def _add(
        self,
        namespace: str,
        name: str,
        function: Callable[..., Any],
        complain: Complain,
        given: Options | None = None,
    ) -> None:
        options: Options = given if given is not None else getattr(function, MARK, Options())
        name = options.name or camel_case(name)
        signature = inspect_function(function, Context, complain)
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
            raise ValueError(f"a method name has at most {MAX_NAME} characters")
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
            """The namespaces of this server and their versions."""
            return self.modules(context.peer)

        def discover(context: Context) -> dict[str, Any]:
            """The OpenRPC document of this server."""
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


def _may_use(space: Namespace, peer: PeerIdentity | None) -> bool:
    return space.allow is None or (peer is not None and space.allow(peer))


def camel_case(name: str) -> str:
    """Convert ``get_block_by_number`` to ``getBlockByNumber``; other names stay unchanged."""
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)


def _functions(target: object) -> dict[str, Callable[..., Any]]:
    """Find the public functions: no leading underscore; only those that a module defines.

    Inspects the class instead of the object, so that no property is executed.
    """
    if isinstance(target, Mapping):
        return {str(name): function for name, function in target.items()}
    if inspect.isroutine(target):
        if not target.__name__.isidentifier():
            raise ValueError(f"{target!r} has no name to serve it under: register {{'name': f}}")
        return {target.__name__: target}
    if isinstance(target, ModuleType):
        own = {k: v for k, v in vars(target).items() if inspect.isfunction(v)}
        listed = getattr(target, "__all__", None)
        if listed is None:
            listed = [k for k, v in own.items() if v.__module__ == target.__name__]
        return {k: own[k] for k in listed if k in own and not k.startswith("_")}
    found: dict[str, Callable[..., Any]] = {}
    for name in dir(target):
        if name.startswith("_"):
            continue
        static = inspect.getattr_static(target, name)
        if inspect.isfunction(static) or isinstance(static, classmethod | staticmethod):
            found[name] = getattr(target, name)
    return found


def _seed_method(other: SeedAPI, name: str) -> Method:
    def execute(params: Raw, /) -> Any:
        return other.execute(Request(name, bytes(params)))

    signature = Signature((), Any, False, lambda params: (params,), execute)
    return Method(name, signature, Options(), False, execute)

"""Served functions of an object: the selection of the public ones, and their names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from npipe.rpc.service.binding import Signature
from npipe.rpc.service.decorators import Options

__all__ = ["Method", "camel_case", "public_functions"]


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


def camel_case(name: str) -> str:
    """Convert ``get_block_by_number`` to ``getBlockByNumber``; other names stay unchanged."""
    first, *others = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in others)


def public_functions(target: object) -> dict[str, Callable[..., Any]]:
    """Find the public functions: no leading underscore; only those that a module defines.

    Inspects the class instead of the object, so that no property is executed.
    """
    if isinstance(target, Mapping):
        return {str(name): function for name, function in target.items()}
    if inspect.isroutine(target):
        if not target.__name__.isidentifier():
            raise ValueError(f"{target!r} has no name: register a mapping, {{'name': function}}")
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

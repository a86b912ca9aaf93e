"""Method names as attributes: ``client.calc.add(1, 2)``. Sans-I/O, for both flavours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npipe.rpc.service.method import camel_case

__all__ = ["Namespace", "WithNamespaces"]


class Namespace:
    """A method, or the common prefix of several method names.

    Calling it calls the method: ``client.calc.add_up(1, 2)`` is ``client.call("calc_addUp", 1,
    2)``, and ``client.calc.add_up(a=1, b=2)`` passes the parameters by name. A single name is used
    unchanged: ``client.calc_addUp(1, 2)``. Options of a call (``timeout``, ``result_type``), and
    names that are not Python identifiers, need ``call``.
    """

    __slots__ = ("_call", "_parts")

    def __init__(self, call: Callable[..., Any], *parts: str) -> None:
        self._call = call
        self._parts = parts

    def __getattr__(self, name: str) -> Namespace:
        if name.startswith("_"):  # a special method looked up by copy, pickle or inspect
            raise AttributeError(name)
        return Namespace(self._call, *self._parts, name)

    def __call__(self, *params: Any, **named: Any) -> Any:
        *namespace, method = self._parts
        name = "_".join((*namespace, camel_case(method))) if namespace else method
        return self._call(name, *params, named=named or None)

    def __repr__(self) -> str:
        return f"<methods {'_'.join(self._parts)}>"


class WithNamespaces:
    """Makes each attribute that a caller does not have a ``Namespace`` of its ``call``."""

    call: Callable[..., Any]

    def __getattr__(self, name: str) -> Namespace:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return Namespace(self.call, name)

"""A development chain called as a client would call it: by method name, with JSON values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import msgspec
import pytest

import npipe.ethereum as ethereum
from npipe.errors import InvalidParams, MethodNotFound

Call = Callable[..., Any]


class Table:
    """Stands in for npipe.rpc.API where no connection is wanted: binds as it does, and calls."""

    def __init__(self) -> None:
        self.methods: dict[str, Callable[..., Any]] = {}

    def register(self, namespace: str, target: object, **_: object) -> None:
        for name in dir(target):
            function = getattr(target, name)
            if not name.startswith("_") and callable(function):
                first, *rest = name.split("_")
                camel = first + "".join(part.capitalize() for part in rest)
                self.methods[f"{namespace}_{camel}"] = function

    def call(self, method: str, *params: Any) -> Any:
        if method not in self.methods:
            raise MethodNotFound(f"the method {method} does not exist/is not available")
        function = self.methods[method]
        hints = get_type_hints(function, include_extras=True)
        names = list(inspect.signature(function).parameters)
        try:
            args = [
                msgspec.convert(value, hints[name])
                for value, name in zip(params, names, strict=False)
            ]
        except msgspec.ValidationError as error:
            raise InvalidParams(str(error)) from None
        return msgspec.json.decode(msgspec.json.encode(function(*args)))


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def service(table: Table) -> Iterator[ethereum.Service]:
    with ethereum.register(table) as service:
        yield service


@pytest.fixture
def call(table: Table, service: ethereum.Service) -> Call:
    return table.call


@pytest.fixture
def alice(service: ethereum.Service) -> str:
    return "0x" + service.accounts[0].address.hex()


@pytest.fixture
def bob(service: ethereum.Service) -> str:
    return "0x" + service.accounts[1].address.hex()

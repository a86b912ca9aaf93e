"""The functions that the tests of the rpc room call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from npipe import rpc


class Data(msgspec.Struct):
    S: str


class Echoed(msgspec.Struct):
    String: str
    Int: int
    Args: Data | None = None


class Specification:
    """The methods of the examples in section 7 of the specification."""

    @rpc.method(inline=True)
    def subtract(self, minuend: int, subtrahend: int) -> int:
        return minuend - subtrahend

    def sum(self, *numbers: int) -> int:
        return sum(numbers)

    def get_data(self) -> list[Any]:
        return ["hello", 5]

    def update(self, *numbers: int) -> None:
        pass

    @rpc.method(name="get_data")
    def get_data_(self) -> list[Any]:
        return ["hello", 5]

    @rpc.method(name="notify_hello")
    def notify_hello(self, *numbers: int) -> None:
        pass


class Service:
    """The methods of geth's own test service, in our words."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self.cancelled = threading.Event()
        self.running = self.most_running = 0  # calls of block
        self._lock = threading.Lock()

    @rpc.method(inline=True)
    def echo(self, string: str, number: int, args: Data | None = None) -> Echoed:
        return Echoed(string, number, args)

    def echo_plain(self, value: Any) -> Any:
        return value

    def echo_with_context(self, context: rpc.Context, string: str, number: int) -> Echoed:
        return Echoed(string, number)

    def no_args_rets(self) -> None:
        pass

    def return_error(self) -> None:
        raise rpc.RPCError("testError", code=444, data="testError data")

    def crash(self) -> None:
        raise ZeroDivisionError("a secret")

    def not_json(self) -> object:
        return object()

    def not_a_number(self) -> float:
        return float("nan")

    def repeat(self, text: str, times: int) -> str:
        return text * times

    @rpc.method(inline=False)
    def slow_repeat(self, text: str, times: int) -> str:
        return text * times

    def block(self, context: rpc.Context) -> str:
        """Wait until released or cancelled."""
        context.on_cancel(self.release.set)
        with self._lock:
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        self.entered.set()
        self.release.wait(60)
        with self._lock:
            self.running -= 1
        if context.cancelled:
            self.cancelled.set()
        return "released"

    @rpc.method(concurrency=2)
    def two_at_a_time(self, context: rpc.Context) -> str:
        return self.block(context)

    def call_me_back(self, context: rpc.Context, method: str, args: list[Any]) -> Any:
        return context.remote.call(method, *args)

    @rpc.subscription
    def counter(self, count: int, start: int = 0) -> Iterator[int]:
        yield from range(start, start + count)

    @rpc.subscription
    def failing(self) -> Iterator[int]:
        yield 1
        raise rpc.RPCError("no more", code=7)

    @rpc.subscription
    def endless(self, context: rpc.Context) -> Iterator[int]:
        context.on_cancel(self.cancelled.set)
        number = 0
        while not context.cancelled:
            yield number
            number += 1


def make_api(service: Service | None = None) -> rpc.API:
    """Return an API with ``test_...`` and the specification's methods."""
    api = rpc.API()
    api.register("test", service or Service())
    api.register("", Specification())
    return api

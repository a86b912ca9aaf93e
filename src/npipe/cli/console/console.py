"""Executes a line of the console: calls, batches, subscriptions. Independent of the terminal.

``attach.py`` reads lines and passes a ``Screen``; a test passes a list.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from npipe.cli.common import as_object, explain, one_line
from npipe.cli.console.aliases import translate
from npipe.cli.console.expression import (
    Command,
    Invocation,
    RequestObject,
    parse,
    pick,
    split_expressions,
)
from npipe.cli.console.units import FUNCTIONS
from npipe.errors import ConnectionLost, ProtocolError, RPCError

if TYPE_CHECKING:
    from npipe.cli.console.catalog import Catalog
    from npipe.rpc import Client

__all__ = ["COMMANDS", "Console", "Screen"]

COMMANDS: Final = ("batch", "exit", "help", "modules", "subscribe")
HELP: Final = """\
eth_blockNumber                    call a method; eth.blockNumber is the same
eth.getBalance("0x..", "latest")   with parameters; eth_getBalance 0x.. latest is the same
eth.getBlock("latest").hash        a member of the result
eth.getBalance(eth.accounts[0])    a parameter that is called first
{"method": "eth_call", ...}        a whole request; [{...}, {...}] is a batch
.batch eth.blockNumber; eth.chainId
.subscribe eth newHeads            print items until Ctrl-C; eth.subscribe("newHeads") too
web3.fromWei("0x..", "ether")      convert an amount; web3.toWei(1.5, "ether") back
.modules                           the modules of the server
.help [METHOD]                     this text, or the parameters of a method
.exit                              exit, as Ctrl-D does
Enter sends the line; inside open brackets it begins another line."""


class Screen(Protocol):
    """The output of the console."""

    def result(self, value: Any, seconds: float) -> None:
        """Print a result and its duration."""

    def text(self, text: str) -> None:
        """Print text for a user."""

    def error(self, text: str) -> None:
        """Print one line about an error."""


class Console:
    """Executes lines against one server."""

    def __init__(
        self, client: Client, address: str, catalog: Callable[[], Catalog], screen: Screen
    ) -> None:
        self._client = client
        self._address = address
        self._catalog = catalog  # requested on first use: a single call needs none
        self._screen = screen
        self.done: bool = False  # .exit was typed

    def execute(self, line: str) -> bool:
        """Execute ``line`` and print the result. Return whether it succeeded."""
        try:
            self._do(line)
        except (OSError, RPCError, ProtocolError) as error:
            self._screen.error(one_line(explain(error, self._address)))
            return False
        except (ValueError, TypeError) as error:  # an error in the line itself
            self._screen.error(one_line(str(error)))
            return False
        return True

    def _do(self, line: str) -> None:
        if line.strip() == "exit":
            self._exit("")
            return
        match parse(line):
            case Invocation(method, [name, *params]) if method.endswith("_subscribe"):
                self._follow(method.removesuffix("_subscribe"), name, params)
            case Invocation() as call:
                self._show(lambda: pick(self._call(call), call.path))
            case RequestObject(body):
                self._show(lambda: self._request(body))
            case Command(name, rest):
                if name not in COMMANDS:
                    raise ValueError(f"no such command: .{name}; .help lists them")
                getattr(self, f"_{name}")(rest)

    def _show(self, action: Callable[[], Any]) -> None:
        began = time.monotonic()
        value = action()
        self._screen.result(value, time.monotonic() - began)

    def _call(self, call: Invocation) -> Any:
        call = self._resolve(call)
        local = FUNCTIONS.get(call.method) if call.dotted else None
        if local is not None:
            return local(*call.params)
        return self._client.call(call.method, *call.params)

    def _resolve(self, call: Invocation) -> Invocation:
        call = replace(call, params=[self._evaluate(value) for value in call.params])
        if not call.dotted:
            return call
        catalog = self._catalog()
        return call if catalog.exact and catalog.find(call.method) else translate(call)

    def _evaluate(self, value: Any) -> Any:
        """Return a parameter, with the results of the calls in it."""
        match value:
            case Invocation():
                return pick(self._call(value), value.path)
            case list():
                return [self._evaluate(item) for item in value]
            case dict():
                return {key: self._evaluate(item) for key, item in value.items()}
        return value

    def _request(self, body: dict[str, Any] | list[Any]) -> Any:
        if isinstance(body, dict):
            method, params = _entry(body)
            named, by_position = (params, []) if isinstance(params, dict) else (None, params)
            return self._client.call(method, *by_position, named=named)
        return _outcomes(self._client.batch([_entry(request) for request in body]))

    def _batch(self, rest: str) -> None:
        calls = [parse(part) for part in split_expressions(rest)]
        if not calls or not all(isinstance(call, Invocation) for call in calls):
            raise ValueError("usage: .batch eth.blockNumber; eth.chainId; ...")
        resolved = [self._resolve(call) for call in calls if isinstance(call, Invocation)]
        entries = [(call.method, call.params) for call in resolved]
        self._show(lambda: _outcomes(self._client.batch(entries)))

    def _subscribe(self, rest: str) -> None:
        words = parse(f"subscribe {rest}") if rest else None
        if not isinstance(words, Invocation) or len(words.params) < 2:
            raise ValueError("usage: .subscribe eth newHeads [PARAM]...")
        namespace, name, *params = words.params
        self._follow(namespace, name, params)

    def _follow(self, namespace: str, name: str, params: list[Any]) -> None:
        """Print the items of a subscription until Ctrl-C."""
        params = [self._evaluate(value) for value in params]
        began = time.monotonic()
        try:
            with self._client.subscribe(namespace, name, *params) as subscription:
                for item in subscription:
                    self._screen.result(item, time.monotonic() - began)
        except KeyboardInterrupt:
            self._screen.text("")  # the terminal has printed ^C in place of a prompt
        except ConnectionLost:
            raise ValueError(
                f"the subscription ended: {self._address} closed the connection"
            ) from None

    def _modules(self, _rest: str) -> None:
        self._show(lambda: dict(sorted(self._catalog().modules.items())))

    def _help(self, rest: str) -> None:
        if not rest:
            self._screen.text(HELP)
            return
        method = self._catalog().describe(rest)
        if method is None:
            raise ValueError(f"unknown method or module: {rest}; .modules lists the modules")
        self._screen.text(f"{method.signature()}  {method.summary}".strip())

    def _exit(self, _rest: str) -> None:
        self.done = True


def _entry(request: dict[str, Any]) -> tuple[str, list[Any] | dict[str, Any]]:
    params = request.get("params") or []
    if not isinstance(params, list | dict):
        raise ValueError('"params" of a request must be an array or an object')
    return request["method"], params


def _outcomes(results: list[Any]) -> list[Any]:
    """Return results unchanged, and errors as error objects."""
    return [_outcome(item) for item in results]


def _outcome(item: Any) -> Any:
    if isinstance(item, RPCError):
        return as_object(item)
    return {"message": str(item)} if isinstance(item, Exception) else item

"""Subscriptions as geth has them: what is pushed, and what comes in.

Sans-I/O. The generator is run by the shell: it asks ``items()``, hands each to ``push`` and ends
with ``finish``. The shell asks for the next item only after the last one was written, so a slow
reader slows its own generator down and nobody else's.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from npipe.errors import InvalidParams, MethodNotFound
from npipe.rpc.api import Method
from npipe.rpc.context import Context
from npipe.rpc.dispatcher import Call, Serving
from npipe.rpc.messages import ABSENT, BAD_JSON, encode, error_object

__all__ = ["Push", "Subscription"]


class Push(msgspec.Struct, gc=False):
    """The params of a ``<namespace>_subscription``. Beyond geth's two members: ``error`` says
    why it ended, ``end`` that it ended as it should."""

    subscription: Raw
    result: Raw = ABSENT
    error: Raw = ABSENT
    end: bool = False


_decode_items = msgspec.json.Decoder(list[Raw]).decode
_decode_name = msgspec.json.Decoder(str).decode


class Subscribing(Serving, Protocol):
    """The session that a subscription belongs to."""

    subscriptions: dict[str, Subscription]


class Subscription:
    """One subscription that is being served."""

    __slots__ = ("_head", "_items", "call", "id", "session")

    def __init__(self, session: Subscribing, namespace: str, method: Method, args: tuple[Any, ...]):
        self.session = session
        self.call = Call(session, method, args, b"", None)
        # geth's form: 16 random bytes in hexadecimal without leading zeros. Not to be guessed.
        self.id = "0x" + os.urandom(16).hex().lstrip("0")
        name = encode(f"{namespace}_subscription")
        self._head = b'{"jsonrpc":"2.0","method":%b,"params":{"subscription":"%b",' % (
            name,
            self.id.encode(),
        )
        self._items = self._call_function()

    def items(self) -> Any:
        """Return the generator: an async one where ``call.method.is_async``."""
        return self._items

    def _call_function(self) -> Any:
        call = self.call
        return call.session.dispatcher.invoke(Context(call), call.method, call.args)

    def push(self, item: Any) -> bool:
        """Queue one item to be sent. False: it is over, stop. Raises as ``encode`` does."""
        if self.call.cancelled:
            return False
        self.session.send(self._head + b'"result":' + encode(item) + b"}}")
        return True

    def finish(self, error: BaseException | None = None) -> None:
        """End it, and tell the subscriber unless it was the one to end it."""
        if self.session.subscriptions.pop(self.id, None) is None:
            return
        tail = b'"end":true}}'
        if error is not None:
            dispatcher, name = self.session.dispatcher, self.call.method.name
            explained = dispatcher.explain(name, self.session.connection_id, error)
            tail = b'"error":' + error_object(explained) + b"}}"
        self.session.send(self._head + tail)


def subscribe(session: Subscribing, namespace: str, params: Raw) -> Subscription:
    """Make the subscription that ``[name, *params]`` asks for. Raises RPCError."""
    try:
        items = _decode_items(params or Raw(b"[]"))
        name = _decode_name(items[0])
    except (*BAD_JSON, IndexError):
        raise InvalidParams("the first parameter is the subscription's name") from None
    method = session.dispatcher.api.subscriptions.get((namespace, name))
    if method is None:
        raise MethodNotFound(f'no "{name}" subscription in {namespace} namespace')
    args = method.signature.bind(Raw(b"[" + b",".join(items[1:]) + b"]"))
    return Subscription(session, namespace, method, args)

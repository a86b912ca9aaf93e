"""What a function may know about the call that it serves.

Sans-I/O, and beneath everything that makes contexts: it sees of a call only what is named here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import json

from npipe.rpc.wire.messages import read_members

if TYPE_CHECKING:
    from npipe.security import PeerIdentity

__all__ = ["Context"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _Session(Protocol):
    @property
    def peer(self) -> PeerIdentity | None: ...
    @property
    def connection_id(self) -> int: ...
    @property
    def remote(self) -> Any: ...


class Served(Protocol):
    """A call, as a context sees it."""

    cancelled: bool
    id: bytes
    trace: bytes

    @property
    def method(self) -> _Named: ...
    @property
    def session(self) -> _Session: ...
    def on_cancel(self, callback: Callable[[], object]) -> None: ...
    def on_reply(self, callback: Callable[[], object]) -> None: ...
    def progress(self, value: Any) -> None: ...


class Context:
    """What a function may know about the call it serves. Annotate a parameter with it."""

    __slots__ = ("_call",)

    def __init__(self, call: Served) -> None:
        self._call = call

    @property
    def method(self) -> str:
        """The name that was called."""
        return self._call.method.name

    @property
    def id(self) -> Any:
        """The id that the client gave the call: a string or a number. None for a notification."""
        return json.decode(self._call.id) if self._call.id else None

    @property
    def trace(self) -> dict[str, str]:
        """The members ``traceparent`` and ``tracestate`` of the request, as far as they are there.

        They are as the client wrote them, valid or not: a propagator of OpenTelemetry takes them
        as a carrier.
        """
        return read_members(self._call.trace) if self._call.trace else {}

    @property
    def peer(self) -> PeerIdentity | None:
        """Who calls, as the kernel tells it. None where there is no other process."""
        return self._call.session.peer

    @property
    def connection_id(self) -> int:
        """The number of the connection in the log."""
        return self._call.session.connection_id

    @property
    def remote(self) -> Any:
        """The other end of this connection, to call back: ``call``, ``notify``, as a client."""
        return self._call.session.remote

    @property
    def cancelled(self) -> bool:
        """True once the answer is no longer wanted: cancelled, or the connection was lost."""
        return self._call.cancelled

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Have ``callback()`` called, from any thread, once ``cancelled`` is true; at once if so
        already. It must not block."""
        self._call.on_cancel(callback)

    def on_reply(self, callback: Callable[[], object]) -> None:
        """Have ``callback()`` called once the reply has been queued: what is sent from then on
        comes after it. It must not block."""
        self._call.on_reply(callback)

    def progress(self, value: Any) -> None:
        """Tell the caller how far the call is: a ``$/progress`` with the call's id as token."""
        self._call.progress(value)

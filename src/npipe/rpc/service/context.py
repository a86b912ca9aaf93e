"""The context of a call: request, peer and connection, as seen by the served function.

Sans-I/O. It depends on no module that creates contexts: ``CallView`` names all that it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from npipe.rpc.wire.messages import read_members

if TYPE_CHECKING:
    from npipe.rpc.wire.encoding import Encoding
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
    def encoding(self) -> Encoding: ...
    @property
    def get_remote(self) -> Callable[[], Any]: ...


class CallView(Protocol):
    """The attributes and methods of a served call that a context uses."""

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
    """The call that a function serves. It is passed to a parameter annotated with ``Context``."""

    __slots__ = ("_call",)

    def __init__(self, call: CallView) -> None:
        """Make a context.

        Args:
            call: The served call.
        """
        self._call = call

    @property
    def method(self) -> str:
        """The name of the called method."""
        return self._call.method.name

    @property
    def id(self) -> Any:
        """The id of the request, a string or a number. None for a notification."""
        call = self._call
        return call.session.encoding.decode(call.id) if call.id else None

    @property
    def trace(self) -> dict[str, str]:
        """The members ``traceparent`` and ``tracestate`` of the request (W3C Trace Context).

        They are unchecked, as the client sent them, and may be absent. A propagator of
        OpenTelemetry accepts them as a carrier.
        """
        return read_members(self._call.trace) if self._call.trace else {}

    @property
    def peer(self) -> PeerIdentity | None:
        """The identity of the client process, as reported by the kernel; None without a process."""
        return self._call.session.peer

    @property
    def connection_id(self) -> int:
        """The number of the connection in the log."""
        return self._call.session.connection_id

    @property
    def remote(self) -> Any:
        """A caller for the other end of this connection, with the methods of ``Caller``."""
        return self._call.session.get_remote()

    @property
    def cancelled(self) -> bool:
        """True once the reply is not needed: the call was cancelled or the connection was lost."""
        return self._call.cancelled

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Register a callback for the cancellation of the call.

        Args:
            callback: Called without arguments, from any thread, once ``cancelled`` is true; at
                once if it is already. It must not block.
        """
        self._call.on_cancel(callback)

    def on_reply(self, callback: Callable[[], object]) -> None:
        """Register a callback for the end of the call.

        Args:
            callback: Called without arguments once the reply has been queued; messages sent from
                then on follow the reply. It must not block.
        """
        self._call.on_reply(callback)

    def progress(self, value: Any) -> None:
        """Send a ``$/progress`` notification (LSP) with the id of the call as its token.

        Args:
            value: The progress, any value of the encoding.
        """
        self._call.progress(value)

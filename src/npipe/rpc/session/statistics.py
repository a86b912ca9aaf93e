"""Counters of the calls of one connection, and its call log. No I/O."""

from __future__ import annotations

from typing import Protocol

from npipe.rpc.session.call_log import log_call
from npipe.rpc.session.timing import OTHER, Timing
from npipe.rpc.wire.encoding import Encoding

__all__ = ["Statistics"]


class LoggedCall(Protocol):
    """The attributes of a call that are logged."""

    @property
    def id(self) -> bytes: ...
    @property
    def code(self) -> int: ...
    @property
    def trace(self) -> bytes: ...


class Statistics:
    """Counts calls and errors, in total and by method.

    Used by any thread without a lock: one of two concurrent additions may be lost.

    Attributes:
        calls: The number of requests and notifications received.
        errors: The number of error replies.
        timings: The durations and error codes, by method.
    """

    __slots__ = ("_connection_id", "_encoding", "_log_calls", "calls", "errors", "timings")

    def __init__(self, connection_id: int, encoding: Encoding, *, log_calls: bool) -> None:
        """Begin at zero.

        Args:
            connection_id: The number of the connection in the log.
            encoding: The encoding of the connection.
            log_calls: Log each call.
        """
        self.calls: int = 0
        self.errors: int = 0
        self.timings: dict[str, Timing] = {}
        self._connection_id = connection_id
        self._encoding = encoding
        self._log_calls = log_calls

    def timing(self, name: str) -> Timing:
        """Return the counters of a method; they begin at zero.

        Args:
            name: The name of the method.
        """
        return self.timings.setdefault(name, Timing())

    def measure(self, name: str, seconds: float, call: LoggedCall | None = None) -> None:
        """Count one call, and log it if ``call`` is given and calls are logged.

        Args:
            name: The name of its method.
            seconds: The duration of the function; 0 if none was called.
            call: The call.
        """
        timing = self.timings.get(name)
        if timing is None:
            timing = self.timing(name)
        timing.count(seconds)
        if call is not None and self._log_calls:
            id, code, trace = self._encoding.text(call.id), call.code, call.trace
            log_call(name, id, self._connection_id, seconds, code=code, trace=trace)

    def count_error(self, name: str, code: int) -> None:
        """Count an error reply by method and code; not in ``errors``.

        Args:
            name: The name of the method.
            code: The error code of the reply.
        """
        self.timing(name).count_error(code)

    def refuse(
        self,
        code: int,
        name: str = OTHER,
        id: bytes = b"",
        trace: bytes = b"",
        *,
        is_method: bool = False,
    ) -> None:
        """Count a message that was answered with an error before any function was called.

        Args:
            code: The error code of the reply.
            name: The name of the method, as the client sent it.
            id: The encoded id.
            trace: The result of ``trace_members`` for the request.
            is_method: Whether ``name`` is a registered method.
        """
        self.errors += 1
        key = name if is_method else OTHER
        self.timing(key).count(0.0)
        self.count_error(key, code)
        if self._log_calls:
            text = self._encoding.text(id)
            log_call(name, text, self._connection_id, 0.0, code=code, trace=trace)

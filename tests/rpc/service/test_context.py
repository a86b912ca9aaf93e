"""What a served function sees of its call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from npipe.rpc.service.context import Context
from npipe.rpc.wire.json_encoding import JSON
from npipe.security import PeerIdentity


class Call:
    """The parts of a served call that a context uses."""

    def __init__(self, id: bytes = b'"a"', trace: bytes = b"") -> None:
        self.id, self.trace, self.cancelled = id, trace, False
        self.method = SimpleNamespace(name="x_f")
        self.session = SimpleNamespace(
            peer=PeerIdentity(pid=7),
            connection_id=3,
            get_remote=lambda: "remote",
            encoding=JSON(),
        )
        self.asked: list[Any] = []

    def on_cancel(self, callback: Any) -> None:
        self.asked.append(("cancel", callback))

    def on_reply(self, callback: Any) -> None:
        self.asked.append(("reply", callback))

    def progress(self, value: Any) -> None:
        self.asked.append(("progress", value))


def test_it_tells_of_the_request_and_the_connection() -> None:
    call = Call()
    context = Context(call)
    assert (context.method, context.id, context.connection_id) == ("x_f", "a", 3)
    assert (context.peer, context.remote) == (PeerIdentity(pid=7), "remote")
    assert not context.cancelled
    call.cancelled = True
    assert context.cancelled
    assert Context(Call(id=b"")).id is None  # a notification
    assert Context(Call(id=b"7")).id == 7


def test_the_members_of_a_trace_are_read_as_they_came() -> None:
    assert Context(Call()).trace == {}
    trace = b',"traceparent":"00-1-2-01","tracestate":"a=b"'
    told = Context(Call(trace=trace)).trace
    assert told == {"traceparent": "00-1-2-01", "tracestate": "a=b"}


def test_callbacks_and_progress_are_the_calls() -> None:
    call = Call()
    context = Context(call)
    context.on_cancel(print)
    context.on_reply(repr)
    context.progress(5)
    assert call.asked == [("cancel", print), ("reply", repr), ("progress", 5)]

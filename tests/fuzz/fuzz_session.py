"""Whatever a peer sends: no exception, and only whole lines of JSON-RPC come back.

Run it as ``fuzz_framing.py`` says.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from npipe.errors import ProtocolError
from npipe.rpc.limits import Limits
from npipe.rpc.service.api import API
from npipe.rpc.service.decorators import method, subscription
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session
from npipe.rpc.wire import framing


class Service:
    """One function of each kind that a session treats differently."""

    @method(inline=True)
    def a(self, x: int = 0) -> int:
        return x

    def b(self, *values: Any) -> Any:
        return values

    @subscription
    def s(self, n: int = 1) -> Any:
        yield n


def make_dispatcher() -> Dispatcher:
    api = API()
    api.register("t", Service())
    return Dispatcher(api)


DISPATCHER = make_dispatcher()


def check(data: bytes) -> None:
    """The first byte is the size of the chunks; the rest is what the peer sends."""
    session = Session(
        DISPATCHER,
        limits=Limits(batch_items=5, subscriptions=3, reply_bytes=500),
        on_subscription=lambda served: served.push(1) and served.finish(),
    )
    reader = framing.make("json-stream", max_bytes=2000, max_depth=50)
    session.outgoing_calls.call("x", b"[1]", lambda outcome: None)
    size, stream = (data[0] % 50 + 1 if data else 1), data[1:]
    try:
        for at in range(0, len(stream), size):
            session.receive(reader.feed(stream[at : at + size]))
            while (call := session.next_call()) is not None:
                call.run()
            check_output(session.take(pushes=True))
        session.receive(reader.eof())
    except ProtocolError:
        pass
    while (call := session.next_call()) is not None:
        call.run()
    check_output(session.take(pushes=True))
    session.close()
    assert session.idle


def check_output(data: bytes) -> None:
    assert data == b"" or data.endswith(b"\n")
    for line in data.split(b"\n")[:-1]:
        value = json.loads(line, parse_constant=_refuse)
        for message in value if isinstance(value, list) else [value]:
            assert message["jsonrpc"] == "2.0"
            assert ("method" in message) + ("result" in message) + ("error" in message) == 1


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


if __name__ == "__main__":
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()

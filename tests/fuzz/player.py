"""A session that plays a script: bytes in, bytes out. ``test_builds`` runs it on both builds.

As a program it reads one script a line, and prints the outcome of each::

    python player.py    {"codec": "ndjson", "chunks": ["7b7d0a"], "writes": [true]}
"""

from __future__ import annotations

import json
import sys
from typing import Any
from unittest.mock import patch

from npipe.errors import ProtocolError
from npipe.rpc import API, COMPILED, Context, Limits, RPCError, method, subscription
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session import served_subscriptions
from npipe.rpc.session.session import Session
from npipe.rpc.wire.codec import CODECS

LIMITS = Limits(
    message_bytes=600, depth=9, queue_bytes=400, calls=3, batch_items=5, reply_bytes=900,
    subscriptions=2, subscription_bytes=300,
)  # fmt: skip


class Service:
    """One function of each kind that a session treats differently."""

    @method(inline=True)
    def echo(self, value: Any = None) -> Any:
        return value

    def plain(self, *values: Any) -> Any:
        return values

    def report(self, context: Context, n: int) -> int:
        context.progress(n)
        return n

    def fail(self, code: int) -> None:
        raise RPCError("no", code=code, data=[code])

    @method(inline=True)
    def nan(self) -> float:
        return float("nan")

    @subscription
    def count(self, n: int = 1) -> Any:
        yield from range(n)


def make_dispatcher() -> Dispatcher:
    api = API()
    api.register("t", Service())
    return Dispatcher(api, show_errors=True)


DISPATCHER = make_dispatcher()


def play(script: dict[str, Any]) -> list[Any]:
    """Feed the chunks of a script, run what they ask for, and return all that can be seen.

    Args:
        script: ``codec``; ``chunks``, in hexadecimal; ``writes``, whether the queue is taken after
            each of them.
    """
    with patch.object(served_subscriptions, "os", _Numbers()):  # ids would be random
        return _play(script)


def _play(script: dict[str, Any]) -> list[Any]:
    codec = CODECS[script["codec"]]
    seen: list[Any] = []
    session = Session(
        DISPATCHER,
        limits=LIMITS,
        framing=codec.frame(max_bytes=LIMITS.message_bytes, max_depth=LIMITS.depth),
        encoding=codec.encoding,
        on_subscription=_run,
    )
    outgoing, encode = session.outgoing_calls, codec.encoding.encode
    outgoing.call("x", encode([1]), lambda got: seen.append(_text(got)))
    outgoing.batch([("y", ()), ("z", [2])], lambda got: seen.append([_text(one) for one in got]))
    outgoing.subscribe("t", encode(["s"]), lambda got: seen.append("push"), lambda got: None)
    try:
        for chunk, write in zip(script["chunks"], script["writes"], strict=True):
            session.feed(bytes.fromhex(chunk))
            _work(session)
            if write:
                seen.append(session.take(pushes=True).hex())
            if session.framing.error is not None:
                raise session.framing.error
        session.feed_eof()
    except ProtocolError as error:
        seen.append(f"{type(error).__name__}: {error}")
        session.refuse(error)
    while True:
        session.flow.resume()
        _work(session)
        if not (data := session.take(pushes=True)):
            break
        seen.append(data.hex())
    statistics = session.statistics
    seen += [statistics.calls, statistics.errors, outgoing.unmatched, len(outgoing), session.idle]
    seen += [{name: [t.calls, t.errors] for name, t in sorted(statistics.timings.items())}]
    session.close()
    seen.append(session.idle)
    return seen


class _Numbers:
    """In place of ``os``: numbers that are the same each time."""

    def __init__(self) -> None:
        self._count = 0

    def urandom(self, size: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(size, "big")


def _work(session: Session) -> None:
    while (call := session.next_call()) is not None:
        call.run()


def _run(served: Any) -> None:
    for item in served.items():
        if served.full or not served.push(item):
            break
    served.finish()


def _text(outcome: Any) -> str:
    if isinstance(outcome, Exception):
        return f"{type(outcome).__name__}: {outcome}"
    return bytes(outcome).hex()


if __name__ == "__main__":
    print(json.dumps(COMPILED), flush=True)
    for line in sys.stdin:
        print(json.dumps(play(json.loads(line))), flush=True)

"""What is guessed to be a message is dealt with as what is found to be one by scanning."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from npipe import rpc
from npipe.errors import ProtocolError
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session
from npipe.rpc.wire.json_stream import JSONStream

# A line of up to twice the depth is guessed without a look at its brackets.
LIMITS = {
    depth: rpc.Limits(message_bytes=400, depth=depth, queue_bytes=300, calls=3)
    for depth in (8, 200)
}


class Scanned:
    """A stream of JSON that never guesses."""

    def __init__(self, max_bytes: int, max_depth: int) -> None:
        self._stream = JSONStream(max_bytes, max_depth)

    def guess(self, data: bytes) -> list[bytes]:
        return []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Service:
    @rpc.method(inline=True)
    def echo(self, value: Any) -> Any:
        return value

    def plain(self, value: Any) -> Any:
        return value


def make(kind: type[JSONStream] | type[Scanned], depth: int) -> Session:
    api = rpc.API()
    api.register("t", Service())
    limits = LIMITS[depth]
    framing = kind(limits.message_bytes, limits.depth)
    session = Session(Dispatcher(api), limits=limits, framing=framing)
    for _ in range(2):
        session.outgoing_calls.call("x", b"", lambda outcome: None)
    session.outgoing_calls.batch([("x", ()), ("y", ())], lambda outcomes: None)
    session.take()
    return session


def play(session: Session, chunks: list[bytes], writes: list[bool]) -> tuple[list[bytes], Any]:
    """Feed chunks; run what they ask for; return all replies, sorted, and how it ended."""
    sent, end = [], None
    for chunk, write in zip(chunks, writes, strict=False):
        try:
            session.feed(chunk)
        except ProtocolError as error:
            end = str(error)
        while (call := session.next_call()) is not None:
            call.run()
        if write:
            sent.append(session.take())
        if end or session.framing.error is not None:
            break
    while True:
        session.flow.resume()
        while (call := session.next_call()) is not None:
            call.run()
        if not (data := session.take()):
            break
        sent.append(data)
    outcome = end or str(session.framing.error), session.statistics.calls, session.statistics.errors
    counts = session.outgoing_calls.unmatched, len(session.outgoing_calls), session.idle
    return sorted(b"".join(sent).splitlines()), (*outcome, *counts, session.framing.pending)


MESSAGES = [
    b'{"jsonrpc":"2.0","id":%d,"method":"t_echo","params":[1]}',
    b'{"jsonrpc":"2.0","id":%d,"method":"t_plain","params":["x"]}',
    b'{"jsonrpc":"2.0","id":%d,"method":"t_echo","params":["\xc3\xa9"]}',
    b'{"jsonrpc":"2.0","id":%d,"method":"t_echo","params":["\xff"]}',
    b'{"jsonrpc":"2.0","id":%d,"method":"t_echo","params":[[[[[[[[1]]]]]]]]}',
    b'{"jsonrpc":"2.0","id":%d,"method":"t_nothing"}',
    b'{"jsonrpc":"2.0","method":"t_echo","params":[%d]}',
    b'{"jsonrpc":"2.0","id":%d,"result":1}',
    b'{"jsonrpc":"2.0","id":[%d],"method":"t_echo","params":[1]}',
    b'[{"jsonrpc":"2.0","id":%d,"method":"t_echo","params":[1]},1]',
    b'[{"jsonrpc":"2.0","id":%d,"method":"t_echo","params":[1]}]',
    b'[{"jsonrpc":"2.0","id":%d,"method":"t_plain"},{"jsonrpc":"2.0","method":"t_echo"}]',
    b'[{"jsonrpc":"2.0","id":%d,"method":"t_echo","params":[[[[[[[1]]]]]]]}]',
    b'[{"jsonrpc":"2.0","id":%d,"method":"t_echo","params":[1]},]',
    b'[{"jsonrpc":"2.0","id":%d,"result":1}]',
    b'[{"jsonrpc":"2.0","id":3,"result":%d},{"jsonrpc":"2.0","id":4,"result":1}]',
    b'[{"jsonrpc":"2.0","id":4,"result":%d},{"jsonrpc":"2.0","id":3,"result":1}]',
    b"[]",
    b'{"jsonrpc":"2.0","id":%d,"method":"t_echo","params":["' + b"y" * 200 + b'"]}',
    b'{"a":%d}{"b":2}',
    b'{"jsonrpc": "2.0",\n"id":%d, "method": "t_echo", "params": [2]}',
    b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":%d}}',
    b"%d",
    b'"%d',
    b"",
    b"  ",
    b"}",
    b'{"',
]
ENDS = [b"\n", b"\r\n", b"", b"\n\n", b" \n"]

messages = st.tuples(st.sampled_from(MESSAGES), st.integers(1, 3), st.sampled_from(ENDS))
streams = st.lists(messages, max_size=8)


@settings(max_examples=400)
@given(
    streams,
    st.lists(st.integers(1, 120), min_size=1, max_size=8),
    st.lists(st.booleans(), min_size=1),
    st.sampled_from(sorted(LIMITS)),
)
@example([(MESSAGES[0], 1, b"\n"), (MESSAGES[4], 2, b"\n")], [500], [True], 8)
@example([(MESSAGES[4], 2, b"\n")], [501], [True], 8)
@example([(MESSAGES[12], 2, b"\n")], [501], [True], 8)
@example([(MESSAGES[2], 1, b"\n"), (MESSAGES[3], 2, b"\n")], [500], [True], 200)
def test_replies_and_limits_are_the_same(
    stream: list[tuple[bytes, int, bytes]], sizes: list[int], writes: list[bool], depth: int
) -> None:
    data = b"".join(
        (text % number if b"%d" in text else text) + end for text, number, end in stream
    )
    chunks: list[bytes] = []
    while data:
        size = sizes[len(chunks) % len(sizes)]
        # Whole lines half of the time, for those are what can be guessed.
        if size % 2 and (newline := data.find(b"\n", size)) >= 0:
            size = newline + 1
        chunks.append(data[:size])
        data = data[size:]
    flags = [writes[at % len(writes)] for at in range(len(chunks))]
    guessed, scanned = make(JSONStream, depth), make(Scanned, depth)
    assert play(guessed, chunks, flags) == play(scanned, chunks, flags)

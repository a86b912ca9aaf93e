"""The compiled build and the pure one: the same bytes come back for the same input.

The pure one runs in a second process, from the sources. Without a compiled build both are pure,
which shows that the comparison itself is sound.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fuzz import player
from npipe.rpc import COMPILED
from npipe.rpc.wire.codec import CODECS

ROOT = Path(__file__).parents[2]
EXAMPLES = 300

Play = Callable[[dict[str, Any]], list[Any]]


@pytest.fixture(scope="module")
def play_pure() -> Iterator[Play]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    with subprocess.Popen(
        [sys.executable, player.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) is False

        def play(script: dict[str, Any]) -> list[Any]:
            process.stdin.write(json.dumps(script) + "\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            found: list[Any] = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            return found

        yield play
        process.stdin.close()


ids = st.sampled_from([1, 2, 3, 4, "a", None, 1.5, [1], True])
names = st.sampled_from(
    ["t_echo", "t_plain", "t_report", "t_fail", "t_nan", "t_subscribe", "t_unsubscribe", "nothing",
     "$/cancelRequest", "$/progress", "t_subscription", "rpc_modules"]
)  # fmt: skip
params = st.sampled_from(
    [[], [1], ["count", 3], ["0x1"], ["é" * 40], {"value": 1}, {"id": 1}, {"token": 1, "value": 2},
     {"subscription": "0x1", "result": 5}, [[[[[[[[[[1]]]]]]]]]], ["x" * 300], None, 5]
)  # fmt: skip
requests = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0", "2.0", "2.0", "1.0"]), "method": names},
    optional={"id": ids, "params": params},
)
replies = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "id": ids},
    optional={
        "result": st.sampled_from([1, None, "0x1"]),
        "error": st.sampled_from([None, 5, {"code": 7, "message": "no"}]),
    },
)
calls = st.tuples(st.sampled_from([0, 1, 2]), ids, names, params).map(list)  # MessagePack-RPC
messages = requests | replies | st.lists(requests | replies, max_size=7) | calls
PIECES = [
    *[b"{", b"}", b'"', b"[", b"\\", b"\n", b" ", b"{}\n", b'{"a":1}\n{', b"\xff", b"\x81", b"1"],
    *[b"Content-Length: 2\r\n\r\n{}", b"Content-Length: x\r\n\r\n", b"\x00\x00\x00\x02{}"],
]
noise = st.lists(st.sampled_from(PIECES) | st.binary(max_size=5), max_size=5).map(b"".join)


def encode(codec: str, message: Any, spaced: bool) -> bytes:
    """Return the message as a peer of this codec frames it."""
    if codec.startswith("msgpack"):
        text = msgspec.msgpack.encode(message)
    else:
        text = json.dumps(message, indent=1 if spaced else None, ensure_ascii=False).encode()
    if codec == "content-length":
        return b"Content-Length: %d\r\n\r\n%b" % (len(text), text)
    if codec == "msgpack":
        return len(text).to_bytes(4, "big") + text
    return text if codec == "msgpack-rpc" else text + b"\n"


@st.composite
def scripts(draw: st.DrawFn) -> dict[str, Any]:
    """Messages and what is none of them, cut into chunks anywhere."""
    codec = draw(st.sampled_from(["json-stream", *CODECS]))
    data = b"".join(
        part if isinstance(part, bytes) else encode(codec, *part)
        for part in draw(st.lists(st.tuples(messages, st.booleans()) | noise, max_size=7))
    )
    chunks = []
    while data:
        size = draw(st.integers(1, 400))
        chunks.append(data[:size].hex())
        data = data[size:]
    writes = draw(st.lists(st.booleans(), min_size=len(chunks), max_size=len(chunks)))
    return {"codec": codec, "chunks": chunks, "writes": writes}


def one_script(codec: str, data: bytes) -> dict[str, Any]:
    return {"codec": codec, "chunks": [data.hex()], "writes": [True]}


@settings(max_examples=EXAMPLES)
@given(scripts())
@example(one_script("json-stream", b"{\n"))
@example(one_script("json-stream", b'{"\n"}'))
@example(one_script("ndjson", b"\n\r\n"))
@example(one_script("content-length", b"Content-Length: 0\r\n\r\n"))
@example(one_script("msgpack-rpc", b"\x91\xdc"))
def test_both_builds_answer_the_same_bytes(play_pure: Play, script: dict[str, Any]) -> None:
    assert json.loads(json.dumps(player.play(script))) == play_pure(script)


def test_this_is_the_build_that_was_asked_for() -> None:
    assert COMPILED is (os.environ.get("NPIPE_TEST_COMPILED") == "1")

"""The checks of the fuzzers, driven by hypothesis: a few seconds of them in every run."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import fuzz_framing, fuzz_session

TOKENS = [
    *[b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"\n", b" ", b"\r\n", b"1", b"-", b"true"],
    *[b'{"a":1}', b"[]", b'"}{"', b'\\"', b"}\n{", b"\x00", b"\xff", b"Content-Length: 2\r\n\r\n"],
]
NOISE = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=3), max_size=60).map(b"".join)

VALUES = st.sampled_from([1, -1.5, "x", None, True, [], {}, [1], {"x": 2}, 10**30, "\ud800"])
METHODS = st.sampled_from(["t_a", "t_b", "t_subscribe", "t_unsubscribe", "modules", "x", 1])
MEMBERS = {
    "jsonrpc": st.sampled_from(["2.0", "2.0", "2.0", "1.0", 2]),
    "id": VALUES,
    "method": METHODS,
    "params": st.lists(VALUES, max_size=2) | st.just(["s", 1]) | VALUES,
    "result": VALUES,
    "error": st.just({"code": 1, "message": "m"}) | VALUES,
}
MESSAGES = st.fixed_dictionaries({}, optional=MEMBERS)


def _wire(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


TRAFFIC = st.lists(
    MESSAGES.map(_wire) | st.lists(MESSAGES | VALUES, max_size=7).map(_wire) | NOISE, max_size=8
).map(b"".join)


@settings(max_examples=600)
@given(st.binary(min_size=2, max_size=2), NOISE)
def test_framing(choice: bytes, stream: bytes) -> None:
    fuzz_framing.check(choice + stream)


@settings(max_examples=600)
@given(st.binary(min_size=1, max_size=1), TRAFFIC)
def test_session(choice: bytes, stream: bytes) -> None:
    fuzz_session.check(choice + stream)

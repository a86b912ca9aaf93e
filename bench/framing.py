"""How fast bytes become messages, by kind of message, and whether it grows in line with size."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

from npipe.rpc.wire import framing

from .harness import Table, measure

CHUNK = 65536


def _block(size: int) -> bytes:
    """Something like a block: an array of objects full of short hex strings."""
    entry = {"hash": "0x" + "ab" * 32, "from": "0x" + "cd" * 20, "value": "0xde0b6b3a7640000"}
    count = max(1, size // len(json.dumps(entry)))
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": [entry] * count}).encode()


def _hex(size: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"result":"0x' + b"ab" * (size // 2) + b'"}'


def _escapes(size: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"result":"' + rb"a\"b\\{[" * (size // 8) + b'"}'


KINDS: tuple[tuple[str, Callable[[int], bytes]], ...] = (
    ("block", _block),
    ("hex", _hex),
    ("escapes", _escapes),
)


def _rate(message: bytes, end: bytes) -> float:
    """Megabytes a second, in chunks of 64 KiB."""
    # The large ones all in 10 MB, for runs of unequal length do not compare.
    count = max(1, (10**7 if len(message) > 10**5 else 10**6) // len(message))
    data = (message + end) * count
    framer = framing.make("json-stream")
    start = time.perf_counter()
    found = 0
    for at in range(0, len(data), CHUNK):
        found += len(framer.feed(data[at : at + CHUNK]))
    took = time.perf_counter() - start
    assert found == count, (found, count)
    return len(data) / took / 1e6


def tables(rounds: int) -> Iterator[Table]:
    for kind, make in KINDS:
        contestants: list[tuple[str, Callable[[], float]]] = []
        for size, name in (
            (100, "100 B"),
            (10_000, "10 KB"),
            (1_000_000, "1 MB"),
            (10**7, "10 MB"),
        ):
            message = make(size)
            contestants.append((f"{name}, newline", lambda m=message: _rate(m, b"\n")))
            contestants.append((f"{name}, no newline", lambda m=message: _rate(m, b"")))
        yield measure(
            f"Framing json-stream, {kind}",
            "MB/s (more is better; equal from 1 MB to 10 MB: linear)",
            contestants,
            reference="1 MB, no newline",
            rounds=rounds,
            goal="1 MB without newline: 150 MB/s" if kind == "block" else "",
        )

"""The scanner: what it finds, and that its work grows with the size of a message only."""

from __future__ import annotations

import json
from io import BytesIO

import pytest

from npipe.errors import ProtocolError
from npipe.rpc import COMPILED
from npipe.rpc.wire import framing, json_stream, scanner
from rpc.wire.streams import cut


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        (b'{"a":[1,"x"]}', b'{""{""}}'),
        (rb'["\"","\\"]', b'{""""}'),
        (b"1, true", b""),
    ],
)
def test_an_outline_has_quotes_and_folded_brackets(block: bytes, shape: bytes) -> None:
    assert scanner.outline(block) == shape


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (b'{"a":[1,{"b":"}"}]}', True),
        (b"{}{}", False),
        (b'{"a":"}{"}', True),
        (b'{"a":"', False),
        (b"{", False),
        (b"{}}", False),
    ],
)
def test_a_text_is_whole_if_its_brackets_are_one_pair(text: bytes, whole: bool) -> None:
    assert scanner.is_whole(text, 512) is whole


def test_a_small_depth_limit_is_left_to_the_container() -> None:
    assert not scanner.is_whole(b"{}", 8)
    assert scanner.whole_lines(b"{}\n{}\n", 8) is None


def test_whole_lines_are_messages_in_brackets_only() -> None:
    assert scanner.whole_lines(b'{"a":1}\n{"b":[2]}\n', 512) == [b'{"a":1}', b'{"b":[2]}']
    for data in (b'{"a":1}\n2\n', b"{}{}\n{}\n", b'{"a":"\n{"}\n'):
        assert scanner.whole_lines(data, 512) is None


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("data", "end"),
    [(b'{"a":"}"} {', 9), (b'"x\\"y"z', 6), (b'["\n"]', 2), (b"[1\n{}", 2), (b"[1,\n{}]x", 7)],
)
def test_a_container_ends_where_its_brackets_do(size: int, data: bytes, end: int) -> None:
    container, at = scanner.Container(10), 0
    while at < len(data):
        found = container.scan(data[: at + size], at, BytesIO())
        if found >= 0:
            assert data[:found].rstrip() == data[:end]
            return
        at += size
    pytest.fail("the end was not found")


def test_a_container_that_nests_too_deep_is_rejected() -> None:
    with pytest.raises(ProtocolError, match="deeper than 10"):
        scanner.Container(10).scan(b"[" * 11, 0, BytesIO())


@pytest.mark.parametrize(
    ("data", "end"), [(b"12 3", 2), (b"true[", 4), (b"nil 1\n2", 5), (b"1.5e3", -1)]
)
def test_a_word_ends_before_whitespace_or_with_its_line(data: bytes, end: int) -> None:
    assert scanner.Word().scan(data, 0, BytesIO()) == end


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the bytes that the primitives of the scanner look at."""
    counts = {"bytes": 0, "tokens": 0}
    outline, tokens = scanner.outline, scanner.Container._tokens

    def counting_outline(block: bytes, **options: bool) -> bytes:
        counts["bytes"] += len(block)
        return outline(block, **options)

    def counting_tokens(self: scanner.Container, data: bytes, pos: int, stop: int) -> int:
        end = tokens(self, data, pos, stop)
        counts["tokens"] += (stop if end < 0 else end) - pos
        return end

    monkeypatch.setattr(scanner, "outline", counting_outline)
    monkeypatch.setattr(json_stream, "outline", counting_outline)
    monkeypatch.setattr(scanner.Container, "_tokens", counting_tokens)
    return counts


HEX = b'{"data":"0x' + b"0123456789abcdef" * 50 + b'"}'
SHAPES = {
    "many small": lambda n: b'{"id":1,"params":["0xabc",true]}' * (n // 32),
    "many small, spaced": lambda n: b'{"id":1,"params":["0xabc",true]} ' * (n // 33),
    "many small, with a brace in a string": lambda n: b'{"id":1,"params":["}{ "]}' * (n // 25),
    "batch": lambda n: b"[" + b",".join([HEX] * (n // len(HEX))) + b"]",
    "pretty": lambda n: json.dumps([{"a": [1, 2]}] * (n // 40), indent=1).encode(),
    "escapes": lambda n: b'["' + b'\\"{\\\\' * (n // 5) + b'"]',
    "deep and shallow": lambda n: b"[" + b",".join([b"[" * 500 + b"]" * 500] * (n // 1000)) + b"]",
    "never ends": lambda n: b"[" * 5 + b'"}}}}}",' * (n // 8),
    "newlines": lambda n: b"[1" + b"\n" * n + b"]",
}


@pytest.mark.skipif(COMPILED, reason="what compiled functions call cannot be replaced")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chunk", [1000, 65536, 10**9])
def test_rpc_bug_03_work_grows_with_size_and_not_with_its_square(
    work: dict[str, int], shape: str, chunk: int
) -> None:
    for size in (100_000, 400_000):
        work.update(bytes=0, tokens=0)
        reader = framing.make("json-stream")
        for part in cut(SHAPES[shape](size), [chunk]):
            reader.feed(part)
        assert work["bytes"] <= 8 * size
        assert work["tokens"] <= 1.1 * size

"""npipe.transport.buffered: nothing is lost or doubled when a deadline passes (t08)."""

from __future__ import annotations

import copy
import io
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import npipe
from npipe.errors import ClosedError
from npipe.transport.memory import memory_pair

Pair = tuple[npipe.BufferedConnection, npipe.Connection]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = memory_pair()
    with npipe.BufferedConnection(ours) as buffered, theirs:
        yield buffered, theirs


def test_t08_a_line_whose_read_timed_out_is_read_whole(pair: Pair) -> None:
    lines, other = pair
    for call in (lines.readline, lambda: lines.read(7), lambda: lines.read_until(b"f\n")):
        other.write(b"abc")
        lines.set_read_deadline(time.monotonic() + 0.01)
        with pytest.raises(TimeoutError):
            call()
        lines.set_read_deadline(None)
        other.write(b"def\n")
        assert call() == b"abcdef\n"


def test_t08_a_flush_that_timed_out_goes_on_where_it_was_cut(pair: Pair) -> None:
    buffered, other = pair
    sent = random.Random(1).randbytes(1_000_000)
    assert buffered.write(sent) == len(sent)
    buffered.set_write_deadline(time.monotonic() + 0.01)
    for call in (buffered.flush, lambda: buffered.write(b"not taken"), buffered.flush):
        with pytest.raises(TimeoutError) as cut:
            call()
    assert cut.value.characters_written == 0  # type: ignore[attr-defined]
    buffered.set_write_deadline(None)
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(other.read)
        buffered.close()
        assert reading.result(60) == sent


def test_t08_timeouts_at_any_moment_lose_and_double_nothing(pair: Pair) -> None:
    buffered, other = pair
    lines = [b"%d\n" % number * (number % 50 + 1) for number in range(300)]
    data, got = b"".join(lines), bytearray()

    def send() -> None:
        for line in lines:
            other.write(line)
        other.close()

    with ThreadPoolExecutor() as pool:
        pool.submit(send)
        while True:
            buffered.set_read_deadline(time.monotonic() + 0.00005)
            try:
                line = buffered.readline()
            except TimeoutError:
                continue
            if not line:
                break
            assert line.endswith(b"\n")
            got += line
    assert got == data


def test_reading(pair: Pair) -> None:
    buffered, other = pair
    other.write(b"one\ntwo\nthree::four")
    assert buffered.peek().startswith(b"one\n")
    assert buffered.readline() == b"one\n"
    assert buffered.readline(2) == b"tw"
    assert buffered.readline(2) == b"o\n"
    assert buffered.read_until(b"::") == b"three::"
    assert buffered.read1(2) == b"fo"
    assert buffered.wait_readable(0)
    buffer = bytearray(2)
    assert buffered.readinto(buffer) == 2
    assert buffer == b"ur"
    assert not buffered.wait_readable(0)
    assert buffered.read(0) == buffered.read1(0) == buffered.readline(0) == b""
    other.write(b"the rest\nhalf")
    other.close()
    assert list(buffered) == [b"the rest\n", b"half"]
    assert buffered.read() == buffered.read1() == buffered.peek() == b""


def test_writing_is_collected_until_the_buffer_is_full(pair: Pair) -> None:
    buffered, other = pair
    small = npipe.BufferedConnection(buffered.raw, 4)
    assert small.write(b"abc") == small.write(bytearray(b"def")) == 3
    assert not other.wait_readable(0)
    assert small.write(memoryview(b"ghi")) == 3
    assert other.read(99) == b"abcdef"
    small.close_write()
    assert other.read() == b"ghi"
    with pytest.raises(ClosedError):
        small.write(b"x" * 4)
        small.write(b"x")


def test_it_is_a_file_of_the_io_module(pair: Pair) -> None:
    buffered, other = pair
    text = io.TextIOWrapper(buffered, encoding="utf-8", newline="\n", write_through=True)
    text.write("grüße\n")
    text.flush()
    assert other.read(99) == "grüße\n".encode()
    other.write(b"danke\n")
    assert text.readline() == "danke\n"
    text.close()
    assert buffered.closed
    assert other.read() == b""


def test_the_connection_shows_through(pair: Pair) -> None:
    buffered, other = pair
    assert buffered.peer == buffered.raw.peer
    assert buffered.local_address == buffered.remote_address == other.remote_address
    assert buffered.readable()
    assert buffered.writable()
    assert "MemoryConnection" in repr(buffered)
    buffered.set_deadline(time.monotonic() + 60)
    other.write(b"kept")
    buffered.peek()
    with pytest.raises(ValueError, match="read its bytes before detach"):
        buffered.detach()
    buffered.read(4)
    assert buffered.detach() is buffered.raw
    with pytest.raises(TypeError, match="cannot copy"):
        copy.copy(buffered)


def test_after_close_every_call_raises(pair: Pair) -> None:
    buffered, _ = pair
    buffered.close()
    buffered.close()
    for call in (
        buffered.readline,
        lambda: buffered.read(1),
        lambda: buffered.write(b"x"),
        buffered.flush,
    ):
        with pytest.raises(ClosedError):
            call()


def test_collecting_it_does_not_flush() -> None:
    ours, theirs = memory_pair(1)
    buffered = npipe.BufferedConnection(ours)
    buffered.write(b"xx")
    del buffered  # a flush would wait here for ever
    assert not theirs.wait_readable(0)
    ours.close()
    theirs.close()


def test_wrong_arguments(pair: Pair) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        npipe.BufferedConnection(pair[1], 0)
    with pytest.raises(ValueError, match="separator is empty"):
        pair[0].read_until(b"")

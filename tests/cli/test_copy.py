"""Copying between a connection and the standard streams."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import Any

import pytest

from npipe.cli.copy import CHUNK, copy, copy_streams
from npipe.testing import memory_pair


def test_copying_ends_with_the_first_read_of_nothing() -> None:
    source = io.BytesIO(b"x" * (CHUNK + 1))
    sizes: list[int] = []
    copy(source.read, lambda data: sizes.append(len(data)))
    assert sizes == [CHUNK, 1]


class Streams:
    """A pipe as standard input."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reading, self.writing = os.pipe()
        self.input = os.fdopen(reading, "rb")
        monkeypatch.setattr(sys, "stdin", self.input)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Streams(monkeypatch)
    yield made
    made.input.close()


def test_the_end_of_the_input_closes_the_write_side_only(
    streams: Any, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    ours, theirs = memory_pair()
    asked: list[bytes] = []

    def answer() -> None:
        asked.append(theirs.read(-1))
        theirs.write(b"answer")  # after the end of the question
        theirs.close()

    os.write(streams.writing, b"question")
    os.close(streams.writing)
    answering = threading.Thread(target=answer)
    answering.start()
    copy_streams(ours)
    answering.join(60)
    ours.close()
    assert (asked, capsysbinary.readouterr().out) == ([b"question"], b"answer")


def test_it_closes_all_of_it_if_asked(streams: Any) -> None:
    ours, theirs = memory_pair()
    os.write(streams.writing, b"last words")
    os.close(streams.writing)
    with theirs:
        copy_streams(ours, until_eof=True)  # returns, though the other end is open
        assert theirs.read(-1) == b"last words"
    assert ours.closed

"""A tape as a server: it answers as the recorded one did."""

from __future__ import annotations

from pathlib import Path

import pytest

from npipe import rpc
from npipe.recording import Playback, TapeFile
from npipe.recording.playback import NOT_ON_TAPE
from npipe.recording.tape import Side, message_event


@pytest.fixture
def tape(directory: Path) -> Path:
    return directory / "t.jsonl"


def record(path: Path, *lines: tuple[int, Side, str]) -> None:
    file = TapeFile(path, target="x")
    file(message_event(0.0, number, side, text.encode()) for number, side, text in lines)
    file.close()


def call(number: int, params: str = "[]") -> str:
    return f'{{"jsonrpc":"2.0","id":{number},"method":"m","params":{params}}}'


def reply(number: int, result: int) -> str:
    return f'{{"jsonrpc":"2.0","id":{number},"result":{result}}}'


def test_answers_come_in_the_order_of_the_tape_and_the_last_is_repeated(tape: Path) -> None:
    record(
        tape,
        (1, "client", call(1)),
        (1, "server", reply(1, 10)),
        (2, "client", call(1)),
        (2, "server", reply(1, 11)),
    )
    playback = Playback(tape)
    with rpc.connect(playback, timeout=20) as one, rpc.connect(playback, timeout=20) as other:
        assert [one.call("m"), other.call("m"), one.call("m")] == [10, 11, 11]
    assert playback.methods == ["m"]


def test_a_call_that_was_not_recorded_is_an_error(tape: Path) -> None:
    record(tape, (1, "client", call(1)), (1, "server", reply(1, 0)), (1, "client", call(2, "[1]")))
    with rpc.connect(Playback(tape), timeout=20) as client:
        for method, params in (("m", [2]), ("m", [1]), ("other", [])):
            with pytest.raises(rpc.RPCError, match="not on the tape") as caught:
                client.call(method, *params)
            assert caught.value.code == NOT_ON_TAPE
        assert client.call("m") == 0
        assert client.batch([("m", []), ("other", [])])[0] == 0

"""A tape against a server: equal and different replies."""

from __future__ import annotations

from pathlib import Path

import pytest

import npipe
from npipe.recording import Recorder, Relay, TapeFile, replay
from npipe.recording.replay import differences
from recording.conftest import open_shop, talk


@pytest.fixture
def tape(address: str, directory: Path) -> Path:
    """A recorded session with a shop that is gone now."""
    path = directory / "t.jsonl"
    file = TapeFile(path, target=address)
    recorder = Recorder(file)
    relay = Relay(address, recorder=recorder)
    with open_shop(address), npipe.listen(f"{address}2") as listener:
        relay.serve(listener)
        talk(f"{address}2")
        assert relay.wait(20)
    recorder.close()
    file.close()
    return path


def test_the_same_server_answers_the_same(tape: Path, address: str) -> None:
    with open_shop(address):
        report = replay(tape, address)
    assert report.differences == []
    assert report.compared == 8  # a subscription, three calls, one batch of two, an error
    assert report.pushes == report.pushes_expected == 4  # two ticks, their end, progress


def test_another_answer_is_found_by_its_path_or_ignored(tape: Path, address: str) -> None:
    with open_shop(address, price=4):
        found = replay(tape, address).differences
    assert {(each.method, each.path, each.expected, each.got) for each in found} == {
        ("shop_order", "$.result.price", "3", "4")
    }
    with open_shop(address, price=4):
        assert replay(tape, address, ignore=["price"]).differences == []


def test_an_answer_that_does_not_come_is_a_difference(tape: Path, address: str) -> None:
    with npipe.listen(address) as deaf:
        report = replay(tape, address, timeout=0.05)
        deaf.accept(0).close()
    assert {(each.path, each.got) for each in report.differences} == {("$", "no answer")}


def test_a_damaged_tape_and_a_missing_server(tape: Path, address: str) -> None:
    with pytest.raises(FileNotFoundError):
        replay(tape, address)
    tape.write_text("{}")
    with pytest.raises(ValueError, match="not a tape"):
        replay(tape, address)


def test_differences_are_named_by_path() -> None:
    old = {"a": [1, {"b": 2}], "c": 1, "d": True, "x": [1]}
    new = {"a": [1, {"b": 3}], "e": 1, "d": 1, "x": [1, 2]}
    assert list(differences(old, new)) == [
        ("$.a[1].b", "2", "3"),
        ("$.c", "1", "missing"),
        ("$.d", "true", "1"),
        ("$.e", "missing", "1"),
        ("$.x", "[1]", "[1, 2]"),
    ]

"""The file of a recording."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.recording.tape import Event, TapeFile, load, message_event


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / "t.jsonl"


def write(path: Path, *events: Event) -> None:
    file = TapeFile(path, target="./geth.ipc")
    file(events)
    file.close()


def test_what_is_written_is_read(path: Path) -> None:
    events = [
        Event(0.5, 1, open={"pid": 7, "uid": None}),
        message_event(0.6, 1, "client", b'{"id": 1,\r\n "method":"m"}'),
        message_event(0.7, 1, "server", b"no JSON"),
        message_event(0.8, 1, "server", b'"\xff"'),
        Event(0.9, 2, refused="nobody"),
        Event(1.0, 1, "client", end=True),
        Event(1.1, 1, "server", lost="too long"),
    ]
    write(path, *events)
    tape = load(path)
    assert tape.header.target == "./geth.ipc"
    assert tape.events == events
    assert bytes(tape.events[1].message or b"") == b'{"id": 1,   "method":"m"}'
    assert (tape.events[2].text, tape.events[3].base64) == ("no JSON", "Iv8i")


@given(st.binary())
def test_every_message_is_one_line_of_json(message: bytes) -> None:
    import msgspec

    line = msgspec.json.encode(message_event(0.0, 1, "client", message))
    assert b"\n" not in line
    assert json.loads(line)["from"] == "client"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_only_the_owner_may_read_it(path: Path) -> None:
    before = os.umask(0)
    try:
        write(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_recording_is_overwritten(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        TapeFile(path, target="x")
    assert path.read_text() == "mine"


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_jq_reads_it(path: Path) -> None:
    write(path, message_event(0.6, 1, "client", b'{"id":1,"method":"m"}'))
    command = ["jq", "-r", 'select(.from == "client").message.method', str(path)]
    assert subprocess.check_output(command, text=True) == "m\n"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: "", "not a tape"),
        (lambda text: text.split("\n", 1)[1], "not a tape"),
        (lambda text: text.replace('"tape":1', '"tape":2'), "version 2"),
        (lambda text: text[:-9], "line 3.*cut off"),
        (lambda text: text.replace('"client"', '"nobody"', 1), "line 2.*nobody|line 2.*enum"),
        (lambda text: text.replace('"c":1', '"c":"1"', 1), "line 2"),
    ],
    ids=["empty", "no header", "newer", "cut", "edited", "no number"],
)  # fmt: skip
def test_a_damaged_tape_is_one_clear_error(path: Path, damage: object, told: str) -> None:
    message = message_event(0.6, 1, "client", b'{"id":1,"method":"m"}')
    write(path, message, message)
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    with pytest.raises(ValueError, match=told):
        load(path)

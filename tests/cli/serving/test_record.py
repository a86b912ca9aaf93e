"""Where a recording goes: a transcript for people, a tape that may fail."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from npipe.cli.common import Failure
from npipe.cli.serving.record import Transcript, recording
from npipe.recording import Event, TapeFile
from npipe.recording.tape import message_event


def test_a_transcript_shows_who_said_what_and_how_long_a_reply_took() -> None:
    lines: list[str] = []
    show = Transcript(lines.append)
    ask = b'{"id":1,"method":"m"}'
    show(
        [
            Event(0.0, 1, open={"pid": 7, "uid": 1}),
            message_event(0.5, 1, "client", ask),
            message_event(0.5, 2, "client", ask),
            message_event(0.5, 1, "server", b'{"id":1,"method":"callback"}'),
            message_event(0.502, 1, "server", b'{"id":1,"result":2}'),
            message_event(0.503, 1, "client", b'{"id":1,"result":3}'),
            message_event(0.6, 1, "server", b"no JSON \x1b[31m"),
            message_event(0.7, 1, "client", b'"' + b"x" * 500 + b'"'),
            Event(0.8, 1, "client", lost="too long"),
            Event(0.9, 1, "server", end=True),
            Event(1.0, 3, refused="nobody\nis there"),
        ]
    )
    assert lines[:6] == [
        "  1 opened by pid 7",
        '  1 --> {"id":1,"method":"m"}',
        '  2 --> {"id":1,"method":"m"}',
        '  1 <-- {"id":1,"method":"callback"}',
        '  1 <-- {"id":1,"result":2}  2.0 ms',
        '  1 --> {"id":1,"result":3}  3.0 ms',
    ]
    assert lines[6] == "  1 <-- no JSON  [31m (not JSON)"
    assert lines[7].endswith("…") and len(lines[7]) < 200
    assert lines[8:] == [
        "  1 --> not shown any further: too long",
        "  1 <-- end",
        "  3 refused: nobody is there",
    ]


def test_nothing_is_recorded_where_nothing_is_wanted() -> None:
    with recording(None, "x", show=None) as recorder:
        assert recorder is None


def test_a_tape_that_exists_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("mine")
    with pytest.raises(Failure, match="exists"), recording(str(path), "x", show=None):
        pass
    with pytest.raises(Failure, match="cannot record"), recording(f"{path}/t", "x", show=None):
        pass
    assert path.read_text() == "mine"


def test_a_disk_that_fills_up_is_told_and_the_status_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: TapeFile, events: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(TapeFile, "__call__", full)
    path = str(tmp_path / "t")
    with pytest.raises(Failure, match="incomplete"), recording(path, "x", show=None) as recorder:
        assert recorder is not None
        recorder.open(None)
        recorder.close()
    assert "the recording has stopped" in capsys.readouterr().err

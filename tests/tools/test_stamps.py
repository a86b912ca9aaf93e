"""A step is done once for each key, and again when it broke."""

from __future__ import annotations

from pathlib import Path

import pytest

import stamps


def test_a_finished_step_is_not_done_again(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with stamps.build(made, "key") as needed:
        assert needed
        (made / "file").touch()
    with stamps.build(made, "key") as needed:
        assert not needed
    assert (made / "file").exists()


def test_another_key_starts_from_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with stamps.build(made, "old"):
        (made / "file").touch()
    with stamps.build(made, "new") as needed:
        assert needed
        assert not (made / "file").exists()


def test_a_broken_step_is_done_again(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="broken"), stamps.build(tmp_path / "made", "key"):
        raise OSError("broken")
    with stamps.build(tmp_path / "made", "key") as needed:
        assert needed


def test_keys_differ_when_their_parts_do() -> None:
    assert stamps.key("a", "b") == stamps.key("a", "b") != stamps.key("ab")

"""``npipe.testing.recorded``: the first run records, the others need no server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from npipe.testing import recorded
from recording.conftest import address, directory, open_shop, talk

__all__ = ["address", "directory"]


def test_the_first_run_records_and_the_next_needs_no_server(address: str, directory: Path) -> None:
    tape = directory / "tapes" / "t.jsonl"
    with open_shop(address), recorded(address, tape) as at:
        assert at != address
        first = talk(at)
    assert tape.exists()
    for _ in range(2):
        with recorded(address, tape) as at:
            assert talk(at) == first


def test_a_run_that_fails_leaves_no_tape(address: str, directory: Path) -> None:
    tape = directory / "t.jsonl"
    with open_shop(address), pytest.raises(ZeroDivisionError), recorded(address, tape) as at:
        talk(at)
        raise ZeroDivisionError
    assert not list(directory.glob("t.jsonl*"))


def test_neither_tape_nor_server_is_an_error_at_once(address: str, directory: Path) -> None:
    with pytest.raises(FileNotFoundError), recorded(address, directory / "t.jsonl"):
        pass


def test_a_damaged_tape_is_an_error(directory: Path) -> None:
    tape = directory / "t.jsonl"
    tape.write_text("{")
    with pytest.raises(ValueError, match="not a tape"), recorded("nowhere", tape):
        pass


def test_the_package_needs_no_dependency_until_it_is_used() -> None:
    code = "import sys, npipe.testing; print({'msgspec', 'json'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"

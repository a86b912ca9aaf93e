"""docs/bugs-of-the-seed.md tells the truth: a row for every bug, and each test it names exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "bugs-of-the-seed.md"


def test_every_bug_has_its_row() -> None:
    rows = re.findall(r"^\| B(\d+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [int(each) for each in rows] == list(range(1, 45))


def test_every_test_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text("utf-8")))
    written = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text("utf-8"))
    }
    assert named - written == set()

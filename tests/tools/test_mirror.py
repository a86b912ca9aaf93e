"""Tests of tools/mirror.py: what it finds missing."""

from __future__ import annotations

from pathlib import Path

import pytest

import mirror


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree with a package, and its tests."""
    for name, text in {
        "src/__init__.py": "from src.a import f",  # re-exports only
        "src/a.py": "def f(): ...",
        "src/deep/__init__.py": "class C: ...",
        "src/deep/_b.py": "def g(): ...",
        "tests/test_a.py": "",
        "tests/deep/test_init.py": "",
        "tests/deep/test_b.py": "",
        "tests/conformance/test_everything.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(mirror, "SOURCE", tmp_path / "src")
    monkeypatch.setattr(mirror, "TESTS", tmp_path / "tests")
    return tmp_path


def test_a_tree_whose_tests_mirror_it(tree: Path) -> None:
    assert mirror.findings() == []


def test_a_module_without_a_test_file_and_a_test_file_without_a_module(tree: Path) -> None:
    (tree / "tests/test_a.py").rename(tree / "tests/test_other.py")
    (tree / "tests/deep/test_init.py").unlink()
    assert mirror.findings() == [
        "src/npipe/a.py has no tests/test_a.py",
        "src/npipe/deep/__init__.py has no tests/deep/test_init.py",
        "tests/test_other.py has no module",
    ]


def test_the_list_of_reasons_is_kept_short(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "WITHOUT_A_TEST_FILE", {"a.py": "x", "gone.py": "x"})
    assert mirror.findings() == [
        "src/npipe/a.py has a test file: remove it from the list",
        "gone.py is on the list, and is no module",
    ]

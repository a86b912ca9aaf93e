"""Tests of tools/suite.py: which other Pythons it finds."""

from __future__ import annotations

from pathlib import Path

import pytest

import suite


def test_a_python_without_a_gil_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of pyenv named 3.14.2t has both names, and python3.14 there is free-threaded."""
    for folder, names in {"3.14.2": ["3.14"], "3.14.2t": ["3.14", "3.14t"]}.items():
        for name in names:
            python = tmp_path / "versions" / folder / "bin" / f"python{name}"
            python.parent.mkdir(parents=True, exist_ok=True)
            python.write_text("#!/bin/sh\n")
            python.chmod(0o700)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {version: Path(path).parts[-3] for version, path in suite.other_pythons()}
    assert found == {"3.14": "3.14.2", "3.14t": "3.14.2t"}

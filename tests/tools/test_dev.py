"""Tests of dev.py: the commands that it describes are those that it has."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_is_described_and_described_commands_exist(dev: ModuleType) -> None:
    described = re.findall(r"^    python dev\.py (\w+)", dev.__doc__ or "", re.MULTILINE)
    assert described == list(dev.COMMANDS)


def test_make_has_the_same_commands(dev: ModuleType) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(phony.split()) == set(dev.COMMANDS)


def test_an_unknown_command_is_status_2_and_prints_the_list(
    dev: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dev.main(["no-such"]) == 2
    assert "python dev.py test" in capsys.readouterr().out

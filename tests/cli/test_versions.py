"""Tests of npipe.cli.versions."""

from __future__ import annotations

import platform
from importlib import machinery, metadata, util
from pathlib import Path

import pytest

import npipe
from npipe.cli import versions


def test_it_names_npipe_python_and_the_system() -> None:
    first, second, third = versions.report().splitlines()
    assert first.startswith(f"npipe {npipe.__version__} (")
    assert platform.python_version() in second
    assert platform.machine() in second
    assert third.startswith("with ")


@pytest.mark.parametrize(
    ("suffix", "said"), [(machinery.EXTENSION_SUFFIXES[0], "compiled"), (".py", "pure Python")]
)
def test_it_says_whether_npipe_is_compiled(
    suffix: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = machinery.ModuleSpec("session", None, origin=f"/npipe/session{suffix}")
    monkeypatch.setattr(util, "find_spec", lambda name: spec)
    assert f"({said})" in versions.report()


def test_the_module_that_tells_is_one_of_the_compiled() -> None:
    hook = (Path(__file__).parents[2] / "tools" / "compile_hook.py").read_text(encoding="utf-8")
    assert util.find_spec("npipe.rpc.session.session") is not None
    assert '"session",' in hook


def test_the_dependencies_are_those_of_the_extras_that_are_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    requirements = ['msgspec>=0.20; extra == "rpc"', 'no-such-package[x]>=1; extra == "a"']
    requirements += ['npipe[rpc]; extra == "cli"', "click"]
    monkeypatch.setattr(metadata, "requires", lambda name: requirements)
    found = dict(versions.dependencies())
    assert found == {"click": metadata.version("click"), "msgspec": metadata.version("msgspec")}


def test_without_metadata_there_is_none_to_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert list(versions.dependencies()) == []
    assert versions.report().endswith("with no optional dependency")

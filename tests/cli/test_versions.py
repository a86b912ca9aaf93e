"""Tests of npipe.cli.versions."""

from __future__ import annotations

import platform
import sysconfig
from importlib import machinery, metadata
from pathlib import Path

import pytest

import npipe
from npipe import rpc
from npipe.cli import versions


def test_it_names_npipe_python_and_the_system() -> None:
    first, second, third = versions.report().splitlines()
    assert first.startswith(f"npipe {npipe.__version__} (")
    assert platform.python_version() in second
    assert ("free-threaded" in second) == bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    assert platform.machine() in second
    assert third.startswith("with ")


@pytest.mark.parametrize(
    ("suffix", "said"), [(machinery.EXTENSION_SUFFIXES[0], "compiled"), (".py", "pure Python")]
)
def test_it_says_whether_npipe_is_compiled(
    suffix: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "rpc" / "session" / f"session{suffix}"
    module.parent.mkdir(parents=True)
    module.touch()
    monkeypatch.setattr(npipe, "__file__", str(tmp_path / "__init__.py"))
    assert f"({said})" in versions.report()


def test_the_module_that_tells_is_one_of_the_compiled() -> None:
    hook = (Path(__file__).parents[2] / "tools" / "compile_hook.py").read_text(encoding="utf-8")
    assert versions.is_compiled() == rpc.COMPILED
    assert (Path(npipe.__file__).parent / "rpc" / "session" / "session.py").is_file()
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

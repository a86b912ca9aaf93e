"""Tests of tools/packages.py: the packages are the same twice, and hold what they should."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="the build backend is not installed")
if sys.platform == "win32":
    pytest.skip("packages are built on Linux", allow_module_level=True)

import packages

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    assert packages.main([str(directory)]) == 0  # builds twice, and compares
    return directory


def sources(top: str) -> set[str]:
    """Return the files of the checkout under ``top`` that git knows, by their path in it."""
    command = ["git", "ls-files", top]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in names if ".dist-info/" in name}
    assert names - metadata == {name.removeprefix("src/") for name in sources("src/npipe")}
    kinds = {re.sub(r".*\.dist-info/", "", name) for name in metadata}
    assert kinds == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_the_sdist_holds_what_a_packager_needs(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "dev.py", "PKG-INFO"}
    assert needed <= names
    assert sources("src/npipe") | sources("tests") <= names
    assert not [name for name in names if name.startswith((".venv", ".wine", ".peers", "build/"))]


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    with tarfile.open(sdist) as tar:
        tar.extractall(tmp_path, filter="data")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": packages.epoch()}
    environment.pop("NPIPE_COMPILE", None)
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    subprocess.run(command, cwd=unpacked, env=environment, check=True, capture_output=True)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_no_package_names_this_machine(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            assert str(ROOT).encode() not in archive.read(name), name


def test_a_difference_between_two_builds_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = iter([{"a.whl": "1"}, {"a.whl": "2"}])
    monkeypatch.setattr(packages, "build", lambda directory: next(digests))
    assert packages.main([str(tmp_path)]) == 1
    assert "a.whl differs" in capsys.readouterr().err

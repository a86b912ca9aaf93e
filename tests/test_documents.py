"""Each block of Python in the documents is a program that runs, and each link leads somewhere."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from npipe.rpc.limits import Limits

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def programs() -> Iterator[object]:
    for path in DOCUMENTS:
        if path.name == "integrations.md":  # its programs need servers: integrations/test_guide.py
            continue
        for found in BLOCK.finditer(path.read_text(encoding="utf-8")):
            line = found.string.count("\n", 0, found.start()) + 2
            yield pytest.param(found[1], id=f"{path.name}:{line}")


@pytest.mark.parametrize("program", list(programs()))
def test_it_runs_and_prints_what_it_says(program: str) -> None:
    """Where a line that prints ends in a comment, that is what it prints."""
    with tempfile.TemporaryDirectory(prefix="np") as directory:
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "XDG_RUNTIME_DIR": directory}
        env |= {"PYTHONUTF8": "1", "PYTHONWARNINGS": "error"}
        command = [sys.executable, "-c", program]
        done = subprocess.run(
            command, env=env, cwd=directory, capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    for said in re.findall(r"print\(.*\)\s+# (.*)", program):
        for word in re.split(r", |\.\.\.", said):
            assert word.strip() in done.stdout


def test_the_table_of_limits_has_each_default() -> None:
    text = (ROOT / "docs" / "reference" / "limits.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", text, re.MULTILINE))
    written = {"32 MiB": 32 << 20, "1 MiB": 1 << 20, "256 KiB": 256 << 10, "`None`": None}
    for limit in dataclasses.fields(Limits):
        cell = rows[limit.name]
        value = written[cell] if cell in written else float(cell.removesuffix(" s"))
        assert value == limit.default, limit.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


@pytest.mark.skipif(
    "WINEPREFIX" in os.environ, reason="web3.py resolves a pipe's path: not on Wine"
)
def test_the_demonstration_of_make_run() -> None:
    """web3.py and npipe's client against ``npipe serve``: it checks all that it prints."""
    pytest.importorskip("web3", reason="the demonstration drives web3.py")
    pytest.importorskip("eth", reason="the extra ethereum")
    command = [sys.executable, str(ROOT / "tools" / "demo.py")]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=55, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "calls/s" in done.stdout
    assert "files left behind                0" in done.stdout

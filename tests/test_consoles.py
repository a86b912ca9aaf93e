"""Each console block in the documents is a session of a shell that prints what the block shows.

The comment above a block says how it is tested::

    <!-- console: with geth -->              first start what SERVERS has under this name
    <!-- console: not run: needs Windows -->

A block without a comment runs as it stands, in a directory that has the tutorial's ``shop.py``. A
command that serves runs in the background, and the next one begins once its address accepts
connections.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- console: (.*?) -->\n)?```console\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = ("$ ", "npipe ", "pip ", "python ", "ssh ")
SHOP = re.compile(r"^```python\n(# shop\.py\n.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+(\.\d+)?")
NOT_RUN = 15
SERVERS = {"geth": "npipe serve ./geth.ipc"}
#: Waits until an address accepts connections. Its arguments are the address.
READY = "import sys, npipe; npipe.connect(sys.argv[1], wait=True, connect_timeout=60).close()"
#: Ends the background jobs, and hides the shell's messages about it.
AT_EXIT = "trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null' EXIT"


@dataclass
class Block:
    """A console block: its place, its comment, its commands, and the lines that it shows."""

    place: str
    comment: str
    commands: list[str]
    shown: list[str]


def blocks() -> Iterator[Block]:
    for path in DOCUMENTS:
        for found in BLOCK.finditer(path.read_text(encoding="utf-8")):
            line = found.string.count("\n", 0, found.start(2)) + 1
            lines = found[2].splitlines()
            commands = [line[2:] for line in lines if line.startswith("$ ")]
            shown = [line.strip() for line in lines if not line.startswith("$ ")]
            yield Block(f"{path.name}:{line}", found[1] or "", commands, shown)


RUN = [block for block in blocks() if not block.comment.startswith("not run")]


def script(block: Block) -> str:
    """Return a program of the shell that runs a block."""
    kind = block.comment.removeprefix("with ")
    commands = [SERVERS[kind], *block.commands] if kind else block.commands
    lines = ["set -e", AT_EXIT]
    for command in commands:
        address = served_address(command)
        if address:
            quiet = "" if ">" in command else " >/dev/null"
            lines += [f"{command.split(' #')[0].rstrip(' &')}{quiet} &", f"ready {address}"]
        else:
            lines.append(command)
    return "\n".join([*lines, "exit 0"])


def served_address(command: str) -> str | None:
    """Return the address of a command that serves until it is stopped."""
    words = shlex.split(command, comments=True)
    if words[:2] not in (["npipe", "serve"], ["npipe", "relay"]):
        return None
    pairs = pairwise(words[1:])
    paths = [word for before, word in pairs if word[:2] == "./" and before[:2] != "--"]
    return paths[0] if paths else "npipe"


@pytest.mark.skipif(sys.platform == "win32", reason="the consoles are those of a POSIX shell")
@pytest.mark.parametrize("block", RUN, ids=lambda block: block.place)
def test_a_session_prints_what_it_shows(block: Block) -> None:
    """Numbers may differ: they are process ids, durations and ports."""
    if block.comment or "npipe serve\n" in "\n".join([*block.commands, ""]):
        pytest.importorskip("eth", reason="the extra ethereum")
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    shop = SHOP.search(tutorial)
    assert shop is not None
    with tempfile.TemporaryDirectory(prefix="np") as directory:
        Path(directory, "shop.py").write_text(shop[1], encoding="utf-8")
        programs = Path(directory, "bin")
        programs.mkdir()
        for name, arguments in (("npipe", "-m npipe"), ("ready", f"-c {shlex.quote(READY)}")):
            (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
            (programs / name).chmod(0o700)
        path = os.pathsep.join([str(programs), os.environ["PATH"]])
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PATH": path, "HOME": directory}
        env |= {"XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": directory}
        done = subprocess.run(
            ["bash", "-c", script(block)],
            env=env,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=140,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    printed = [NUMBER.sub("N", line.strip()) for line in done.stdout.splitlines()]
    assert printed == [NUMBER.sub("N", line) for line in block.shown]


def test_each_block_that_is_not_run_has_a_reason() -> None:
    left_out = [block for block in blocks() if block.comment.startswith("not run")]
    without = [block.place for block in left_out if not re.match(r"not run: \w", block.comment)]
    assert without == []
    assert len(left_out) == NOT_RUN, "a block that can run should; count the others here"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_stand_in_console_blocks(document: Path) -> None:
    found = FENCED.findall(document.read_text(encoding="utf-8"))
    others = [text.splitlines() for language, text in found if language != "console"]
    assert [line for lines in others for line in lines if line.startswith(PROGRAMS)] == []

"""What the tests of the command line share: private addresses, commands as processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
WINDOWS = sys.platform == "win32"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name: socket paths are limited to about 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="np") as name:
        yield Path(name)


@pytest.fixture
def address(directory: Path) -> str:
    """An address that no one else has."""
    return rf"\\.\pipe\np-{uuid.uuid4().hex}" if WINDOWS else str(directory / "s")


@pytest.fixture
def env(directory: Path) -> dict[str, str]:
    """The environment of a command: its own runtime and home directory, the sources importable."""
    own = {"XDG_RUNTIME_DIR": str(directory), "XDG_STATE_HOME": str(directory / "state")}
    path = os.pathsep.join(
        [str(directory), str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return {**os.environ, **own, "PYTHONPATH": path, "PYTHONUTF8": "1", "TERM": "dumb"}


@pytest.fixture
def start(env: dict[str, str], directory: Path) -> Iterator[Start]:
    """Start ``npipe ARGUMENTS``; whatever still runs at the end is killed."""
    with ExitStack() as stack:

        def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "npipe.cli", *arguments]
            pipe = subprocess.PIPE
            options = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "cwd": directory} | options
            process = subprocess.Popen(command, text=True, env=env, **options)
            stack.callback(_end, process)
            return process

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.fixture
def run(start: Start) -> Run:
    """Run ``npipe ARGUMENTS`` to its end."""

    def run(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        process = start(*arguments)
        out, err = process.communicate(typed, timeout=60)
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    return run


@pytest.fixture
def serve(start: Start) -> Callable[..., tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start ``npipe serve ARGUMENTS --json`` and wait until it is ready."""

    def serve(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        process = start("serve", *arguments, "--json")
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        return process, json.loads(line)

    return serve

"""Processor instructions per call in the sans-I/O core, of both builds, counted by valgrind.

No other program disturbs the count: a change of one percent shows on a busy machine. System calls
and the loop are not in it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .core_calls import CLIENT, LOADS
from .harness import Row, Table
from .servers import COMPILED, COMPILED_PYTHON, Absent

FEW, MANY = 1600, 4800  # calls of two runs: the difference leaves out the start


def tables(rounds: int) -> Iterator[Table]:
    if shutil.which("valgrind") is None:
        raise Absent("valgrind is not installed")
    builds = {"npipe": sys.executable}
    if COMPILED_PYTHON.exists():
        builds[COMPILED] = str(COMPILED_PYTHON)
    for load in (*LOADS, CLIENT):
        rows = [Row(name, [per_call(python, load)]) for name, python in builds.items()]
        title = f"Instructions per call in the core: {load}"
        yield Table(title, "instructions (fewer is better)", "npipe", rows)


def per_call(python: str, load: str) -> float:
    """Return the number of instructions that one more call costs."""
    return (count(python, load, MANY) - count(python, load, FEW)) / (MANY - FEW)


def count(python: str, load: str, calls: int) -> int:
    """Return the number of instructions of one run of ``core_calls``."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "out")
        tool = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}"]
        subprocess.run(
            [*tool, python, "-m", "bench.core_calls", load, str(calls)],
            check=True,
            capture_output=True,
        )
        found = re.search(r"^summary: (\d+)", out.read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

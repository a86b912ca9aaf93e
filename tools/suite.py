"""Runs every test that this machine can run, and prints how many of each kind passed.

    python tools/suite.py [--pythons] [PYTEST ARGUMENTS]

On this Python and, at the same time, on CPython for Windows where Wine is installed
(tools/wine.py). With ``--pythons`` instead, the tests of all that depends on the Python version,
on each other version that is found. ``make test`` and ``make pythons`` run it in the
project's venv.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import install_peers
import reports
import stamps
import wine

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".test-results"
OTHERS = ("3.12", "3.13", "3.14", "3.14t")  # t: without a GIL; msgspec needs 3.14 for that
#: The tests that depend on the interpreter's sockets, threads and event loop.
PORTABLE = ("tests/conformance", "tests/transport", "tests/aio")
#: Of the others, the one that has the extra for these, and runs them too.
NEWEST = "3.14"
#: What relies on atomic steps: run where there is no GIL.
CORE = tuple(
    f"tests/rpc/{name}" for name in ("conformance", "service", "session", "threads", "wire")
)
REMOTE = ("tests/transport/smb", "tests/aio/test_smb.py", "tests/aio/test_samba.py")
#: The tests for the older CPython for Windows; the newer one runs everything.
PORTABLE_WINDOWS = (*PORTABLE, "tests/peers")
#: What does no input or output and is the same on every system: not repeated under Wine, where
#: it takes three minutes. The workflow "tests" runs it on Windows.
PURE = (
    *(f"tests/ethereum/{name}" for name in ("chain", "evm", "tracing", "values")),
    *(f"tests/rpc/{name}" for name in ("service", "session", "wire")),
    "tests/fuzz",
)
#: The order of the tests, if it is not to be another one in each run.
SEED = [f"--randomly-seed={seed}"] if (seed := os.environ.get("NPIPE_SEED")) else []
TIMEOUT = 3000.0  # seconds for one run of pytest


class Suite:
    """Runs pytest, again and again, and keeps the score."""

    def __init__(self) -> None:
        self.total = reports.Counts()
        self.lines: list[str] = []
        self.good = True

    def count(self, name: str, report: Path, status: int, seconds: float) -> None:
        """Count one run of pytest by what it left: its exit status and its ``report``."""
        counts = reports.read(report)
        ending = f"in {seconds:.0f} s"
        if status or not counts.passed:
            self.good = False
            ending += f", exit status {status}" if status else ", which is a failure"
            if not counts.failed:  # it broke off, or ran nothing: that must show in the total
                counts += reports.Counts(failed=1)
        self.total += counts
        self.lines.append(f"{name}: {counts} {ending}")

    def run_here(self, name: str, python: Path | str, arguments: Sequence[str]) -> None:
        """Run pytest on a Python of this system."""
        print(f"\n=== {name}", flush=True)
        report = RESULTS / f"{name.replace(' ', '-')}.xml"
        report.unlink(missing_ok=True)
        command = [str(python), "-m", "pytest", f"--junitxml={report}", *SEED, *arguments]
        self.count(name, report, *call(command))

    @contextlib.contextmanager
    def beside_wine(self, arguments: Sequence[str]) -> Iterator[None]:
        """Run pytest on each CPython for Windows, one after the other and beside the body.

        More at a time on two cores would make tests exceed their limits. The output comes after
        the body. Without ``arguments`` the older ones run what rests on the interpreter, and the
        newest all but what does no input or output.
        """
        windows = wine.Wine(wine.HOME)
        windows.setup(wine.VERSIONS, [])
        tool = [sys.executable, str(ROOT / "tools" / "wine.py"), "test", f"--timeout={TIMEOUT:g}"]
        with ThreadPoolExecutor(max_workers=1) as pool, contextlib.ExitStack() as stack:
            runs = []
            for version in wine.VERSIONS:
                windows.report(version).unlink(missing_ok=True)
                log = stack.enter_context(open(RESULTS / f"win32-{version}.txt", "w+b"))
                newest = [f"--ignore={folder}" for folder in PURE]
                tests = arguments or (PORTABLE_WINDOWS if version != wine.VERSIONS[-1] else newest)
                running = pool.submit(call, [*tool, version, *tests], log)
                runs.append((version, running, log))
            yield
            for version, running, log in runs:
                name = f"win32 {version} (Wine)"
                print(f"\n=== {name}", flush=True)
                ended = running.result()
                log.seek(0)
                shutil.copyfileobj(log, sys.stdout.buffer)
                self.count(name, windows.report(version), *ended)
        windows.stop()

    def finish(self) -> int:
        """Print the score, the last line in the form that CI reads; return the exit status."""
        print("", *self.lines, f"total: {self.total}", sep="\n", flush=True)
        return 0 if self.good else 1


def call(command: Sequence[str], output: IO[bytes] | None = None) -> tuple[int, float]:
    """Run ``command`` in the checkout without standard input; return its exit status and time.

    Its output goes into ``output``, or else to this program's standard output.
    """
    start = time.monotonic()
    errors = None if output is None else subprocess.STDOUT
    try:
        status = subprocess.call(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            timeout=TIMEOUT + 30,
        )
    except subprocess.TimeoutExpired:
        print(f"suite.py: not done after {TIMEOUT:g} s: ended", flush=True)
        status = 124
    return status, time.monotonic() - start


def other_pythons() -> Iterator[tuple[str, str]]:
    """Yield (version, path) of each other Python here: on PATH, or one of pyenv's."""
    pyenv = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    for version in OTHERS:
        number, free_threaded, _ = version.partition("t")
        patch = f"{number}.*[0-9]{free_threaded}"
        places = glob.glob(f"{pyenv}/versions/{patch}/bin/python{version}")
        places += filter(None, [shutil.which(f"python{version}")])
        for path in places:
            # One of pyenv's shims is on PATH even where the version behind it is not.
            probe = subprocess.run([path, "-c", ""], check=False, capture_output=True)
            if probe.returncode == 0 and version != "{}.{}".format(*sys.version_info):
                yield version, path
                break


def make_venv(version: str, python: str) -> Path:
    """Return the Python of a venv like ours, for another version. Made once."""
    venv = ROOT / f".venv-{version}"
    with stamps.build(venv, wine.requirements(ROOT / "pyproject.toml")) as needed:
        if needed:
            subprocess.run([python, "-m", "venv", "--without-pip", venv], check=True)
            pip = [sys.executable, "-m", "pip", "--python", str(venv), "install", "--quiet"]
            extras = ".[console,smb]" if version == NEWEST else ".[console]"
            same = ["--constraint", "constraints/newest.txt"]
            subprocess.run([*pip, *same, "-e", extras, "--group=test"], cwd=ROOT, check=True)
    return venv / "bin" / "python"


def main(arguments: Sequence[str]) -> int:
    RESULTS.mkdir(exist_ok=True)
    suite = Suite()
    if arguments[:1] == ["--pythons"]:
        for version, path in other_pythons():
            existing = [*PORTABLE, *(CORE if version.endswith("t") else ())]
            if version != NEWEST:
                existing += [f"--ignore={path}" for path in REMOTE]
            python = make_venv(version, path)
            suite.run_here(f"{sys.platform} {version}", python, [*existing, *arguments[1:]])
        return suite.finish()
    if not install_peers.install():
        return 1
    name = "{} {}.{}".format(sys.platform, *sys.version_info)
    if shutil.which("wine"):
        with suite.beside_wine(arguments):
            suite.run_here(name, sys.executable, arguments)
        return suite.finish()
    suite.run_here(name, sys.executable, arguments)
    if "wine" in os.environ.get("NPIPE_REQUIRE", "").split(","):
        suite.good = False
        suite.lines.append("win32: Wine is not installed, and NPIPE_REQUIRE asks for it")
    else:
        suite.lines.append("win32: skipped, Wine is not installed (apt-get install wine64 wine)")
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

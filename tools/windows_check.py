r"""Measure on a real Windows what only Windows decides, and run the tests there.

    python tools/windows_check.py              every step; the report goes to standard output
    python tools/windows_check.py tracking     one step, or several
    python tools/windows_check.py --list       their names, and what each is about
    python tools/windows_check.py --fake       on any system: the fake kernel of the tests instead

Each step runs in a process of its own under a hard limit of time. A step that hangs is a finding,
not an end: it prints the stack of every thread and is ended. The report has a line for each fact:
what was assumed, what this Windows does. Where the two differ, the tables in
tools/windows_steps/tables.py and the fake kernel (``tests/transport/windows/fake_kernel32``) have
to follow, and docs/windows.md.

Needs the checkout with its test dependencies (``py dev.py setup``). Steps that need another user,
an elevated shell or a tool of the Windows SDK say so and are skipped without it.
"""

from __future__ import annotations

import argparse
import faulthandler
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from windows_steps import (  # noqa: E402
    accounts,
    interop,
    load,
    ports,
    probes,
    programs,
    remote,
    report,
    tokens,
)

LIMIT: Final = 180.0  # seconds for a step
LONGER: Final = {
    **dict.fromkeys(("tests", "page_heap", "verifier"), 1800.0),
    **dict.fromkeys(("kernel_tests", "container"), 900.0),
    "rest": 5000.0,
}
DUMP: Final = 5.0  # seconds before the limit at which a step that hangs prints its stacks
STEPS: Final[dict[str, Callable[[], None]]] = {
    step.__name__: step
    for module in (probes, load, remote, ports, interop, accounts, tokens, programs)
    for step in module.STEPS
}


def limit(name: str) -> float:
    """Return how many seconds a step may take."""
    return LONGER.get(name, LIMIT)


def about(name: str) -> str:
    """Return what a step is about, in a line."""
    return (STEPS[name].__doc__ or "").splitlines()[0]


def run(names: list[str], *options: str) -> Iterator[str]:
    """Run the steps; yield those that failed or hung."""
    for name in names:
        print(f"\n== {name}: {about(name)}", flush=True)
        command = [sys.executable, __file__, *options, "--step", name]
        try:
            status = subprocess.call(command, timeout=limit(name))
        except subprocess.TimeoutExpired:
            print("HANGS", flush=True)
            yield name
        else:
            if status not in (0, report.SKIPPED):
                print(f"FAILED with status {status}", flush=True)
                yield name


def step(name: str) -> int:
    """Run one step in this process; return the exit status."""
    faulthandler.dump_traceback_later(limit(name) - DUMP)
    try:
        STEPS[name]()
    except report.Skipped as reason:
        print(f"skipped: {reason}")
        return report.SKIPPED
    finally:
        faulthandler.cancel_dump_traceback_later()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("steps", nargs="*", choices=[[], *STEPS], default=[], metavar="STEP")
    parser.add_argument("--list", action="store_true", help="print the names of the steps")
    parser.add_argument("--fake", action="store_true", help="measure the fake kernel of the tests")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.list:
        width = max(map(len, STEPS))
        print(*(f"{name:{width}}  {about(name)}" for name in STEPS), sep="\n")
        return 0
    if options.fake:
        report.use_fake()
    elif sys.platform != "win32":
        parser.error("this measures Windows: run it there, by tools/wine.py run, or with --fake")
    if options.step:
        return step(options.step)
    failed = list(run(options.steps or list(STEPS), *(["--fake"] if options.fake else [])))
    print(f"\nfailed: {', '.join(failed) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

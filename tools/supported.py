"""Write the table of docs/supported.md from the reports of test runs.

    python tools/supported.py            take what .test-results and .wine hold, and write the table
    python tools/supported.py FILE...    take these reports, of another machine for example

Each run of pytest writes into its JUnit report on what it ran (``tests/conftest.py``). The newest
run of each system and Python is kept in docs/supported.json, and a test holds the table to it.
"""

from __future__ import annotations

import datetime
import json
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import reports

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "supported.json"
PAGE = ROOT / "docs" / "supported.md"
BEGIN, END = "<!-- written by tools/supported.py -->\n", "<!-- end -->\n"
#: Systems without a run, and what stands in for one.
NOT_VERIFIED = (
    ("Windows", "3.11 to 3.14", "run `tools/windows_check.py` or the workflow `tests` there"),
    ("macOS", "3.11 to 3.14", "run the same workflow there; CI runs `mypy --strict` for darwin"),
    ("other POSIX systems", "3.11 or newer", "missing peer credentials are named in an error"),
)
#: The folders below ``tests`` that make a run whole.
WHOLE = {"aio", "cli", "conformance", "ethereum", "integrations", "peers", "rpc", "transport"}

Run = dict[str, Any]


def read(report: Path) -> Run | None:
    """Return what a report says of its run; None if it does not say on what it ran."""
    root = ET.parse(report).getroot()
    named = {each.get("name"): each.get("value") for each in root.iter("property")}
    suite = root.find("testsuite")
    if "system" not in named or suite is None:
        return None
    counts = reports.read(report)
    classes = [case.get("classname", "").split(".") for case in root.iter("testcase")]
    folders = sorted({parts[1] for parts in classes if len(parts) > 2 and parts[0] == "tests"})
    when = datetime.datetime.fromisoformat(suite.get("timestamp", "2000-01-01"))
    return {
        "system": named["system"],
        "python": named["python"],
        "date": when.date().isoformat(),
        "tests": "all" if set(folders) >= WHOLE else ", ".join(folders),
        "passed": counts.passed,
        "failed": counts.failed,
        "skipped": counts.skipped,
    }


def merge(kept: Iterable[Run], new: Iterable[Run]) -> list[Run]:
    """Return one run for each system and Python: a whole one before a part, then the newest."""
    best: dict[tuple[str, str], Run] = {}
    for run in [*kept, *new]:
        key = (run["system"], run["python"])
        held = best.get(key)
        if held is None or _rank(run) >= _rank(held):
            best[key] = run
    return [best[key] for key in sorted(best)]


def _rank(run: Run) -> tuple[bool, str]:
    return run["tests"] == "all", run["date"]


def table(runs: Iterable[Run]) -> str:
    """Return the table in Markdown."""
    lines = ["| system | Python | tests | passed | failed | skipped | date |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    names = ("system", "python", "tests", "passed", "failed", "skipped", "date")
    lines += ["| " + " | ".join(str(run[name]) for name in names) + " |" for run in runs]
    seen = {run["system"].partition(",")[0] for run in runs}
    lines += [
        f"| {system} | {python} | **not verified**: {why} | | | | |"
        for system, python, why in NOT_VERIFIED
        if system not in seen
    ]
    return "\n".join(lines) + "\n"


def page(text: str, runs: Iterable[Run]) -> str:
    """Return the page with its table written anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{table(list(runs))}{END}{tail}"


def main(arguments: Sequence[str]) -> int:
    """Take the reports, and write both files; return the exit status."""
    found = [Path(name) for name in arguments]
    found = found or [
        *(ROOT / ".test-results").glob("*.xml"),
        *(ROOT / ".wine").glob("report-*.xml"),
    ]
    new = [run for run in map(read, found) if run is not None]
    runs = merge(json.loads(DATA.read_text(encoding="utf-8")) if DATA.is_file() else [], new)
    DATA.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), runs), encoding="utf-8")
    print(table(runs), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

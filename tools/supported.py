"""Write the tables of docs/supported.md from the reports of test runs.

    python tools/supported.py            take the reports in .test-results and .wine
    python tools/supported.py FILE...    take these reports, of another machine for example

Each run of pytest writes into its JUnit report on what it ran (``tests/conftest.py``). The newest
run of each system, Python and build is kept in docs/supported.json, and a test holds the tables to
it.
"""

from __future__ import annotations

import datetime
import json
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
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
    (
        "Windows, AMD64",
        "3.11 to 3.14",
        "run `tools/windows_check.py` or the workflow `tests` there",
    ),
    ("Windows, ARM64", "3.12 to 3.14", "run the same there"),
    ("Linux, aarch64", "3.11 to 3.14", "run the workflow `release` there, which tests its wheel"),
    ("macOS", "3.11 to 3.14", "run the same workflow there; CI runs `mypy --strict` for darwin"),
    ("other POSIX systems", "3.11 or newer", "missing peer credentials are named in an error"),
)
#: The folders below ``tests`` that make a run whole.
WHOLE = {"aio", "cli", "conformance", "ethereum", "integrations", "peers", "rpc", "transport"}
#: What is counted on its own: its name, a pattern of the test's module, one of its parameters.
PARTS = (
    ("conformance: Unix sockets", r"conformance\.test_connection", r"unix(-swapped|_portable)?"),
    ("conformance: abstract sockets (Linux)", r"conformance\.test_connection", "abstract"),
    ("conformance: named pipes", r"conformance\.test_connection", "pipe(-swapped)?"),
    ("conformance: named pipes, messages", r"conformance\.test_connection", "message_pipe.*"),
    ("conformance: in memory", r"conformance\.test_connection", "memory"),
    ("asyncio: the default loop", r"aio\..*", "asyncio"),
    ("asyncio: eager tasks (3.12)", r"aio\..*", "eager"),
    ("asyncio: debug mode", r"aio\..*", "debug"),
    ("uvloop", r"aio\..*", "uvloop"),
    ("JSON-RPC", r"rpc\..*", None),
    ("remote pipes: Samba", r"(transport\.smb|aio)\.test_samba|peers\.test_smb_(?!kerb).*", None),
    ("remote pipes: Kerberos", r"peers\.test_smb_kerberos", None),
    ("ssh", r"peers\.test_ssh", None),
    ("systemd sockets", r"peers\.test_systemd", None),
    ("NATS", r"peers\.test_nats", None),
    ("Node and Go programs, geth", r"peers\.test_(transport|rpc_peers|geth.*|ethereum.*)", None),
    ("libraries of the guide", r"integrations\..*", None),
)

Run = dict[str, Any]


def read(report: Path) -> Run | None:
    """Return what a report says of its run; None if it does not say on what it ran."""
    root = ET.parse(report).getroot()
    named = {each.get("name"): each.get("value") for each in root.iter("property")}
    suite = root.find("testsuite")
    if "system" not in named or suite is None:
        return None
    counts = reports.read(report)
    cases = list(root.iter("testcase"))
    names = [case.get("classname", "").split(".") for case in cases]
    folders = sorted({parts[1] for parts in names if len(parts) > 2 and parts[0] == "tests"})
    when = datetime.datetime.fromisoformat(suite.get("timestamp", "2000-01-01"))
    return {
        "system": named["system"],
        "python": named["python"],
        "build": named.get("build", "pure"),
        "date": when.date().isoformat(),
        "tests": "all" if set(folders) >= WHOLE else ", ".join(folders),
        "passed": counts.passed,
        "failed": counts.failed,
        "skipped": counts.skipped,
        "parts": count_parts(cases),
    }


def count_parts(cases: Iterable[ET.Element]) -> dict[str, int]:
    """Count the tests of each of ``PARTS`` that passed."""
    counts: Counter[str] = Counter()
    for case in cases:
        if any(case.find(ending) is not None for ending in ("skipped", "failure", "error")):
            continue
        module = case.get("classname", "").removeprefix("tests.")
        test, _, parameters = case.get("name", "").partition("[")
        words = re.split(r"-(?!swapped)", parameters.rstrip("]")) if test else []
        for part, modules, wanted in PARTS:
            if re.fullmatch(modules, module) and (
                wanted is None or any(re.fullmatch(wanted, word) for word in words)
            ):
                counts[part] += 1
    return dict(counts)


def merge(kept: Iterable[Run], new: Iterable[Run]) -> list[Run]:
    """Return one run for each system, Python and build.

    A run of all tests comes before a part of them, then the newest.
    """
    best: dict[tuple[str, str, str], Run] = {}
    for run in [*kept, *new]:
        key = (run["system"], run["python"], run["build"])
        held = best.get(key)
        if held is None or _rank(run) >= _rank(held):
            best[key] = run
    return [best[key] for key in sorted(best)]


def _rank(run: Run) -> tuple[bool, str]:
    return run["tests"] == "all", run["date"]


def table(runs: Iterable[Run]) -> str:
    """Return the table of the systems in Markdown."""
    names = ("system", "python", "build", "tests", "passed", "failed", "skipped", "date")
    lines = [_row("system", "Python", *names[2:]), _row(*["---"] * len(names))]
    lines += [_row(*(run[name] for name in names)) for run in runs]
    seen = {run["system"] for run in runs}
    lines += [
        _row(system, python, "", f"**not verified**: {why}", "", "", "", "")
        for system, python, why in NOT_VERIFIED
        if not any(each == system or each.startswith(f"{system},") for each in seen)
    ]
    return "\n".join(lines) + "\n"


def parts_table(runs: Iterable[Run]) -> str:
    """Return the table of what passed where, in Markdown: a row for each of ``PARTS``."""
    runs = list(runs)
    heads = []
    for run in runs:
        system = "Wine" if "Wine" in run["system"] else run["system"].partition(",")[0]
        build = "" if run["build"] == "pure" else f", {run['build']}"
        heads.append(f"{system} {run['python'].rpartition('.')[0]}{build}")
    lines = [_row("tests that passed", *heads), _row(*["---"] * (len(heads) + 1))]
    lines += [_row(part, *(run["parts"].get(part, "-") for run in runs)) for part, *_ in PARTS]
    return "\n".join(lines) + "\n"


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def page(text: str, runs: Iterable[Run]) -> str:
    """Return the page with its tables written anew."""
    runs = list(runs)
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}{table(runs)}\n{parts_table(runs)}{END}{tail}"


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
    print(table(runs), parts_table(runs), sep="\n", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

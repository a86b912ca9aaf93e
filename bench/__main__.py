"""``python -m bench [SECTION ...] [--quick] [--rounds N] [--output FILE]``

Measures the sections and prints their tables. With --output it also writes them as Markdown, as
JSON and as pictures beside it. Sections of an earlier run that were not measured again stay.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

from .report import Report, Section
from .servers import Absent

#: Each is a module here, and a section of the document.
SECTIONS = (
    "transport",
    "remote",
    "wine",
    "rpc",
    "one_core",
    "instructions",
    "many_connections",
    "soak",
    "hostile",
    "slow_call",
    "clients",
    "chain",
    "framing",
    "integrations",
    "operate",
    "cost",
)
ROUNDS, QUICK = 9, 3


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "section", nargs="*", choices=[*SECTIONS, []], help=f"of {', '.join(SECTIONS)}; or all"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"measured rounds ({ROUNDS})")
    parser.add_argument("--quick", action="store_true", help=f"the same as --rounds {QUICK}")
    parser.add_argument(
        "--output", type=Path, help="the Markdown file; the JSON and the pictures go beside it"
    )
    options = parser.parse_args()
    rounds = QUICK if options.quick else options.rounds
    report = Report(options.output, SECTIONS) if options.output else None
    command = " ".join(["python -m bench", *sys.argv[1:]])
    for name in options.section or SECTIONS:
        begun = time.monotonic()
        section = Section(command)
        try:
            for table in importlib.import_module(f"bench.{name}").tables(rounds):
                section.tables.append(table)
                print(table.markdown(), flush=True)
        except Absent as reason:
            section.left_out = str(reason)
            print(f"{name} is left out: {reason}", flush=True)
        section.load.append(os.getloadavg()[0])
        if report:  # after each section: a run takes long, and may be cut off
            report.put(name, section)
        print(f"{name}: {time.monotonic() - begun:.0f} s\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

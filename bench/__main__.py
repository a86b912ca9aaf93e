"""``python -m bench [GROUP ...] [--rounds N] [--output FILE]``: run, print, write the tables."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path

from .harness import Table

GROUPS = ("transport", "rpc", "framing", "cost")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("group", nargs="*", choices=[*GROUPS, []], help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds (default: 5)")
    parser.add_argument("--output", type=Path, help="write Markdown here, and a plot beside it")
    options = parser.parse_args()
    sections: dict[str, list[Table]] = {}
    for group in options.group or GROUPS:
        for table in importlib.import_module(f"bench.{group}").tables(options.rounds):
            sections.setdefault(group, []).append(table)
            print(table.markdown(), flush=True)
    if options.output:
        options.output.write_text(document(sections))
        plot((t for tables in sections.values() for t in tables), options.output)


def document(sections: dict[str, list[Table]]) -> str:
    head = f"""# Benchmarks

Made by `make bench` ({" ".join(sys.argv[1:])}). Every contestant of a table ran in the same run,
one after the other in each round; the numbers are medians, the spread is (largest - smallest) /
median. Trust the ratios, not the absolute numbers.

Machine: {platform.system()} {platform.machine()}, {os.cpu_count()} cores;
Python {platform.python_version()}.

"""
    return head + "\n".join(
        f"## {group}\n\n" + "\n".join(table.markdown() for table in tables)
        for group, tables in sections.items()
    )


def plot(tables: Iterable[Table], output: Path) -> None:
    """A bar for each contestant's ratio, one panel a table; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tables = list(tables)
    columns = 3
    rows = -(-len(tables) // columns)
    figure, panels = pyplot.subplots(
        rows, columns, figsize=(18, 3 * rows), layout="constrained", squeeze=False
    )
    for panel in panels.flat[len(tables) :]:
        panel.set_axis_off()
    for panel, table in zip(panels.flat, tables, strict=False):
        names = [row.name for row in table.rows]
        panel.barh(names, [table.ratio(row) for row in table.rows])
        panel.axvline(1, color="grey", linewidth=0.8)
        panel.invert_yaxis()
        panel.set_title(f"{table.title}\nratio to {table.reference}; {table.unit}", fontsize=8)
        panel.tick_params(labelsize=7)
    figure.savefig(output.with_suffix(".png"), dpi=80)


if __name__ == "__main__":
    main()

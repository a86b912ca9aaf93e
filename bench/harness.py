"""Run contestants side by side and print ratios.

Every contestant of a table is measured once per round, so that a disturbance of the
machine affects all of them. The table shows medians over the rounds, the spread, and each
contestant's ratio to the one named as the reference: the median of the rounds' own ratios, so
that a round in which the machine was slow counts like any other. Nothing here knows what is
measured.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


@dataclass
class Row:
    """One contestant's results: ``values`` holds one number per round."""

    name: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Return the range of the middle half of the rounds, relative to the median."""
        if len(self.values) < 4:
            return (max(self.values) - min(self.values)) / self.median
        low, _, high = statistics.quantiles(self.values, n=4)
        return (high - low) / self.median


@dataclass
class Goal:
    """The quickest contestant of ours does at least ``ratio`` times as much as ``against``."""

    against: str
    ratio: float

    def __str__(self) -> str:
        return f"{self.ratio:g} x {self.against}"


@dataclass
class Table:
    """One measured thing: its contestants' rows, in a unit where more or less is better."""

    title: str
    unit: str
    reference: str
    rows: list[Row]
    goal: str = ""
    absent: dict[str, str] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)

    def ratio(self, row: Row, against: str = "") -> float:
        name = against or self.reference
        reference = next((r for r in self.rows if r.name == name), self.rows[0])
        pairs = zip(row.values, reference.values, strict=True)
        return statistics.median(mine / its for mine, its in pairs)

    def verdicts(self) -> list[str]:
        """A line of Markdown for each goal whose rival was measured: the goal, what was reached."""
        lines = []
        for goal in self.goals:
            if any(row.name == goal.against for row in self.rows):
                ours = [r for r in self.rows if r.name.startswith("npipe")]
                reached = {r.name: self.ratio(r, goal.against) for r in ours}
                told = ", ".join(f"{name} {ratio:.2f}" for name, ratio in reached.items())
                met = "met" if max(reached.values()) >= goal.ratio else "missed"
                lines.append(f"| {self.title} | {goal} | {told} | {met} |")
        return lines

    def markdown(self) -> str:
        lines = [f"### {self.title}", ""]
        if goal := self.goal or ", ".join(map(str, self.goals)):
            lines += [f"Goal: {goal}.", ""]
        lines += [
            f"| contestant | median {self.unit} | spread | ratio to {self.reference} |",
            "|---|---:|---:|---:|",
        ]
        lines += [
            f"| {r.name} | {_number(r.median)} | {r.spread:.0%} | {_ratio(self.ratio(r))} |"
            for r in self.rows
        ]
        lines += [f"| {name} | not measured: {why} | | |" for name, why in self.absent.items()]
        return "\n".join(lines) + "\n"


def measure(
    title: str,
    unit: str,
    contestants: Iterable[tuple[str, Callable[[], float]]],
    *,
    reference: str,
    rounds: int = 5,
    goal: str = "",
    absent: dict[str, str] | None = None,
    goals: Iterable[Goal] = (),
) -> Table:
    """Call each contestant once per round, in another order each time, for one may suffer from what
    another leaves behind; the first round warms up and is dropped."""
    turns = [(Row(name), run) for name, run in contestants]
    rows = [row for row, _ in turns]
    for number in range(rounds + 1):
        random.Random(number).shuffle(turns)
        for row, run in turns:
            gc.collect()
            value = run()
            if number:
                row.values.append(value)
    return Table(title, unit, reference, rows, goal, absent or {}, list(goals))


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Run this process, and what it starts meanwhile, on one core of those that it may use.

    A client and a server that take turns then cost just what their work costs. On two cores that
    have nothing else to do, most of a round trip is spent in waking the other core.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield  # not on this system: everything runs where it likes
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 1e6 else "-"  # to nothing at all


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"

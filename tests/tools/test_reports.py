"""Counting what pytest reports."""

from __future__ import annotations

from pathlib import Path

import reports


def test_counts_are_read_from_a_report(tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    file.write_text(
        '<testsuites><testsuite tests="10" failures="2" errors="1" skipped="3"/></testsuites>'
    )
    assert reports.read(file) == reports.Counts(passed=4, failed=3, skipped=3)


def test_no_report_counts_as_nothing_run(tmp_path: Path) -> None:
    assert reports.read(tmp_path / "none.xml") == reports.Counts()


def test_the_total_reads_as_ci_expects_it() -> None:
    total = reports.Counts(1, 0, 2) + reports.Counts(3, 1, 0)
    assert f"total: {total}" == "total: 4 passed, 1 failed, 2 skipped"

"""Tests of tools/supported.py: the table of docs/supported.md is what the kept runs say."""

from __future__ import annotations

import json
from pathlib import Path

import supported

REPORT = """<testsuites><testsuite tests="3" failures="1" errors="0" skipped="1"
timestamp="2026-11-28T10:00:00+00:00"><properties>
<property name="system" value="Linux, x86_64"/><property name="python" value="3.11.7"/>
</properties><testcase classname="tests.aio.test_x" name="test_a[uvloop-1]"/>
<testcase classname="tests.conformance.test_connection" name="test_connection[a-unix-swapped]"/>
<testcase classname="tests.conformance.test_connection" name="test_connection[b-unix]"><skipped/>
</testcase><testcase classname="tests.aio.test_x" name="test_b[asyncio]"><failure/></testcase>
<testcase classname="tests.test_init" name="test_c"/></testsuite></testsuites>"""


def test_the_page_is_what_the_kept_runs_say() -> None:
    runs = json.loads(supported.DATA.read_text(encoding="utf-8"))
    text = supported.PAGE.read_text(encoding="utf-8")
    assert text == supported.page(text, runs)
    assert not [run for run in runs if run["failed"]], "a run with failures verifies nothing"


def test_a_report_says_what_ran_where(tmp_path: Path) -> None:
    file = tmp_path / "report.xml"
    file.write_text(REPORT)
    assert supported.read(file) == {
        "system": "Linux, x86_64",
        "python": "3.11.7",
        "build": "pure",
        "date": "2026-11-28",
        "tests": "aio, conformance",
        "passed": 1,
        "failed": 1,
        "skipped": 1,
        "parts": {"uvloop": 1, "conformance: Unix sockets": 1},
    }
    file.write_text(REPORT.replace('"system"', '"other"'))
    assert supported.read(file) is None


def test_a_whole_run_is_kept_before_a_newer_part() -> None:
    place = {"system": "Linux", "python": "3.11.7", "build": "pure"}
    whole = {**place, "tests": "all", "date": "2026-01-01"}
    part = {**place, "tests": "aio", "date": "2026-02-01"}
    newer = {**place, "tests": "all", "date": "2026-03-01"}
    assert supported.merge([whole], [part]) == [whole]
    assert supported.merge([part], [whole]) == [whole]
    assert supported.merge([whole], [newer]) == [newer]
    compiled = {**part, "build": "compiled"}
    assert supported.merge([whole], [compiled]) == [compiled, whole]


def test_a_system_with_a_run_is_no_longer_called_not_verified() -> None:
    run = dict.fromkeys(("build", "tests", "passed", "failed", "skipped", "date"), "")
    wine = {**run, "system": "Windows under Wine, AMD64", "python": "3.13.0"}
    text = supported.table([{**run, "system": "macOS, arm64", "python": "3.13.0"}, wine])
    assert "| macOS |" not in text
    assert "| Windows, AMD64 | 3.11 to 3.14 |  | **not verified**" in text


def test_the_parts_have_a_column_for_each_run() -> None:
    run = {"system": "Linux, x86_64", "python": "3.11.7", "build": "compiled", "parts": {}}
    text = supported.parts_table([run, {**run, "build": "pure", "parts": {"ssh": 3}}])
    assert text.startswith("| tests that passed | Linux 3.11, compiled | Linux 3.11 |\n")
    assert "| ssh | - | 3 |" in text

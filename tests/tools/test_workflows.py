"""The workflows: pinned actions, minimal permissions, commands and steps that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import windows_check

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def text(request: pytest.FixtureRequest) -> str:
    path: Path = request.param
    return path.read_text(encoding="utf-8")


def test_every_action_is_pinned_by_its_hash_and_says_its_version(text: str) -> None:
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert [
        line for line in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", line)
    ] == []


def test_a_job_may_read_and_only_the_one_that_publishes_may_do_more(text: str) -> None:
    assert "\npermissions:\n  contents: read\n\n" in text
    more = re.findall(r"^ {4,}permissions:\n((?: {6,}.*\n)+)", text, re.MULTILINE)
    assert [part.split()[:2] for part in more] in ([], [["id-token:", "write"]])
    assert text.count("persist-credentials: false") == text.count("actions/checkout@")
    assert text.count("timeout-minutes:") >= text.count("runs-on:") - text.count("id-token: write")


def test_every_command_exists(text: str) -> None:
    described = (ROOT / "dev.py").read_text(encoding="utf-8")
    for name in re.findall(r"run: python dev\.py (\w+)", text):
        assert f"    python dev.py {name} " in described
    for path in re.findall(r"python (tools/\w+\.py)|bash (\S+)", text):
        assert (ROOT / "".join(path)).is_file()


def test_the_steps_of_the_permanent_check_exist() -> None:
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    (steps,) = re.findall(r"STEPS: >-\n((?: {8}.*\n)+)", text)
    assert set(steps.split()) < set(windows_check.STEPS)
    # The rows of the first hour that stay in every run: 0 to 4, 6, 9, 10, 13 and 14.
    kept = {"system", "flush", "tracking", "held_name", "remote", "second_user", "integrity"}
    assert kept | {"ctrl_c", "threads", "cleanup"} <= set(steps.split())


def test_the_matrix_has_every_system_and_python() -> None:
    text = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    for word in ("windows-2022", "windows-2025", "windows-11-arm", "macos-14", "ubuntu-24.04"):
        assert re.search(rf"os: \[.*{word}.*\]", text)
    assert 'python: ["3.11", "3.12", "3.13", "3.14"]' in text
    assert "architecture: x86" in text
    assert '"3.14t"' in text

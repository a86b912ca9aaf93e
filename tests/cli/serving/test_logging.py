"""Tests of npipe.cli.serving.logging: the lines on standard error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import npipe

CODE = """
import logging, sys
from npipe.cli.serving.logging import configure
configure({level!r}, as_json={as_json})
log = logging.getLogger("npipe.rpc")
log.info("quiet")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("a %s\\nline", "second")
"""


def lines(level: str, *, as_json: bool) -> list[str]:
    env = {**os.environ, "PYTHONPATH": str(Path(npipe.__file__).parents[1])}
    code = CODE.format(level=level, as_json=as_json)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_json_is_one_object_a_line_with_the_traceback_inside() -> None:
    (line,) = lines("warning", as_json=True)
    record = json.loads(line)
    assert (record["level"], record["logger"]) == ("error", "npipe.rpc")
    assert record["message"] == "a second\nline"
    assert "ZeroDivisionError" in record["traceback"]


def test_the_level_is_kept() -> None:
    assert len(lines("info", as_json=True)) == 2
    assert lines("critical", as_json=True) == []


def test_a_line_for_people_has_time_and_level() -> None:
    assert " ERROR a second" in lines("warning", as_json=False)[0]

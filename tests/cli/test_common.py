"""Tests of npipe.cli.common: how failures and values are printed."""

from __future__ import annotations

import errno
from pathlib import Path

import click
import pytest

import npipe
from npipe.cli.common import Failure, as_object, dump, explain, failures, one_line, version
from npipe.errors import ConnectionLost, RPCError


def test_a_line_cannot_drive_a_terminal() -> None:
    assert one_line(" a\x1b[31mb\nc\x00 ") == "a [31mb c "


def test_json_is_one_line_for_a_program() -> None:
    assert dump({"a": [1, "é"]}, pretty=False) == '{"a":[1,"é"]}'
    assert "\n" in dump({"a": 1}, pretty=True)


def test_an_error_of_the_server_keeps_code_and_data() -> None:
    error = RPCError("no", code=-32000, data={"x": 1})
    assert explain(error, "a") == 'no (code -32000, data {"x":1})'
    assert as_object(error) == {"code": -32000, "message": "no", "data": {"x": 1}}


def test_a_missing_server_says_how_to_start_one() -> None:
    error = FileNotFoundError(errno.ENOENT, "none")
    assert explain(error, "/x") == "no server at /x; start one with: npipe serve /x"


def test_a_file_of_that_name_here_is_hinted_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("npipe.cli.common.sys.platform", "linux")
    Path("x.ipc").touch()
    assert "write ./x.ipc" in explain(FileNotFoundError(errno.ENOENT, "none"), "x.ipc")


def test_a_lost_call_may_have_been_executed() -> None:
    assert "may have been executed" in explain(ConnectionLost("gone", maybe_executed=True), "a")
    assert "executed" not in explain(ConnectionLost("gone", maybe_executed=False), "a")


@pytest.mark.parametrize(
    ("error", "listening", "told"),
    [
        (OSError(errno.EACCES, "denied"), False, "a: denied"),
        (FileNotFoundError(), True, "cannot listen at a: its directory does not exist"),
        (OSError(errno.EADDRINUSE, "in use"), True, "cannot listen at a: in use"),
    ],
)
def test_errors_of_a_pipe_are_a_failure_of_one_line(
    error: OSError, listening: bool, told: str
) -> None:
    with pytest.raises(Failure) as caught, failures("a", listening=listening):
        raise error
    assert caught.value.message == told


def test_a_bad_address_is_wrong_usage() -> None:
    with pytest.raises(click.UsageError), failures("a"):
        raise ValueError("no address")


def test_the_version_is_the_packages_own() -> None:
    assert version() == npipe.__version__


def test_a_missing_extra_is_one_line_and_any_other_missing_module_a_traceback() -> None:
    text = 'npipe.integrations.nats needs nats: pip install "npipe[nats]"'
    with pytest.raises(Failure, match="pip install"), failures("nats://h/x"):
        raise ModuleNotFoundError(text, name="nats")
    with pytest.raises(ModuleNotFoundError), failures("a"):
        raise ModuleNotFoundError("No module named 'x'", name="x")

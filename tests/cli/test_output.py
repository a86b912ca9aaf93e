"""Tests of npipe.cli.output, with commands as processes: full disks, closed and narrow outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cli.conftest import WINDOWS
from npipe import rpc

TEXT = "caf\u00e9 \u2603 \U0001f600"
FULL = "npipe: cannot write to standard output: No space left on device\n"
CLOSED = "npipe: cannot write to standard output: it is closed\n"

posix_only = pytest.mark.skipif(WINDOWS, reason="closes descriptors by the shell")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")


class Words:
    def say(self) -> str:
        return TEXT


@pytest.fixture
def words(address: str) -> Iterator[str]:
    api = rpc.API()
    api.register("words", Words())
    with rpc.Server(api) as server:
        server.serve(address)
        yield address


def shell(
    line: str, address: str, env: dict[str, str], **more: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a line of the shell, where $NPIPE is the command and $AT the address."""
    command = f"{sys.executable} -m npipe"
    env = {**env, "AT": address, **more}
    return subprocess.run(
        ["sh", "-c", line.replace("$NPIPE", command)],
        env=env,
        capture_output=True,
        check=False,
        timeout=60,
    )


# Each command with something to print; "attach" by each of its two ways.
PRINTING = [
    "$NPIPE --help",
    "$NPIPE --version",
    "$NPIPE call --help",
    "$NPIPE call $AT words_say",
    "$NPIPE call --json $AT words_say",
    "$NPIPE attach $AT --exec words.say",
    "echo words.say | $NPIPE attach $AT",
    "$NPIPE bench $AT words_say --seconds 0.01 --connections 1",
    'echo \'{"jsonrpc":"2.0","id":1,"method":"words_say"}\' | $NPIPE cat $AT',
    "$NPIPE serve $AT.other --modules rpc --api words=cli.test_output:Words",
]


@linux_only
@pytest.mark.parametrize("line", PRINTING)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line_that_does_not_blame_the_pipe(
    line: str, unbuffered: str, words: str, env: dict[str, str]
) -> None:
    env["PYTHONPATH"] += os.pathsep + os.path.dirname(os.path.dirname(__file__))
    done = shell(f"{line} >/dev/full", words, env, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr.decode()) == (1, FULL)


@posix_only
@pytest.mark.parametrize("line", PRINTING)
def test_a_closed_output_is_one_line(line: str, words: str, env: dict[str, str]) -> None:
    env["PYTHONPATH"] += os.pathsep + os.path.dirname(os.path.dirname(__file__))
    done = shell(f"{line} >&-", words, env)
    assert (done.returncode, done.stderr.decode()) == (1, CLOSED)


@posix_only
def test_with_all_streams_closed_nothing_is_sent_to_the_server(
    words: str, env: dict[str, str]
) -> None:
    """A pipe that is opened gets the lowest free number: without the mend, that of an output."""
    done = shell("$NPIPE call $AT no_such <&- >&- 2>&-", words, env)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert shell("$NPIPE call $AT words_say", words, env).returncode == 0


@posix_only
@pytest.mark.parametrize("line", ["$NPIPE --help", "$NPIPE call $AT words_say"])
def test_a_reader_that_left_is_no_error_message(line: str, words: str, env: dict[str, str]) -> None:
    done = shell(f"{line} | true", words, env)
    assert (done.returncode, done.stderr) == (0, b"")


@posix_only
def test_a_message_that_cannot_be_written_changes_no_status(env: dict[str, str]) -> None:
    for way in ("2>&-", *(["2>/dev/full"] if sys.platform == "linux" else [])):
        assert shell(f"$NPIPE call ./nothing x {way}", "", env).returncode == 1
        assert shell(f"$NPIPE nothing {way}", "", env).returncode == 2


@posix_only
@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", TEXT.encode()),
        ("cp1252", b"caf\xe9 \\u2603 \\ud83d\\ude00"),
        ("latin-1", b"caf\xe9 \\u2603 \\ud83d\\ude00"),
        ("cp437", b"caf\x82 \\u2603 \\ud83d\\ude00"),
    ],
)
def test_a_character_that_the_encoding_lacks_is_a_json_escape(
    encoding: str, expected: bytes, words: str, env: dict[str, str]
) -> None:
    env["PYTHONUTF8"] = "0"
    done = shell("$NPIPE call $AT words_say", words, env, PYTHONIOENCODING=encoding)
    assert (done.stdout, done.stderr) == (b'"' + expected + b'"\n', b"")


@posix_only
@pytest.mark.parametrize(
    "setting", [{"FORCE_COLOR": "1"}, {"NO_COLOR": "1"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
def test_what_a_program_reads_is_the_same_whatever_the_environment(
    setting: dict[str, str], words: str, env: dict[str, str]
) -> None:
    for line in ("$NPIPE call $AT words_say", "echo words.say | $NPIPE attach $AT"):
        done = shell(line, words, env, **setting)
        assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f'"{TEXT}"\n', b"")

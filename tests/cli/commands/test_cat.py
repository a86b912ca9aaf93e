"""``npipe cat``, ``ls`` and ``relay``: bytes, on threads' own transport."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import npipe
from cli.conftest import WINDOWS, Run, Start


def test_cat_sends_its_input_and_prints_the_answer(address: str, run: Run) -> None:
    received = []

    def serve(listener: npipe.Listener) -> None:
        with listener.accept(20) as connection:
            received.append(connection.read(100).rstrip())
            connection.write(b"answer\n")

    with npipe.listen(address) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        done = run("cat", address, typed="question\n")
        server.join()
    assert (done.returncode, done.stdout, received) == (0, "answer\n", [b"question"])


@pytest.mark.skipif(WINDOWS, reason="a byte pipe has no half-close")
def test_cat_passes_the_end_of_its_input_on(address: str, run: Run) -> None:
    with npipe.listen(address) as listener:
        ends: list[bytes] = []

        def serve() -> None:
            with listener.accept(20) as connection:
                ends.append(connection.read())  # until the end
                connection.write(b"bye")

        server = threading.Thread(target=serve)
        server.start()
        done = run("cat", address, typed="x" * 100_000)
        server.join()
    assert done.stdout == "bye"
    assert ends == [b"x" * 100_000]


def test_cat_listens(address: str, start: Start) -> None:
    process = start("cat", "--listen", address)
    with npipe.connect(address, connect_timeout=60, wait=True) as connection:
        connection.write(b"letter")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "letter"), err


def test_cat_without_a_server_says_how_to_start_one(address: str, run: Run) -> None:
    done = run("cat", address)
    assert done.returncode == 1
    assert f"npipe serve {address}" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(WINDOWS, reason="the names there are the system's, not this test's")
def test_ls_lists_bare_names(
    run: Run, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", env["XDG_RUNTIME_DIR"])
    with npipe.listen("one"), npipe.listen("two"):
        assert run("ls").stdout.split() == ["one", "two"]
        assert json.loads(run("ls", "o*", "--json").stdout) == ["one"]
    assert run("ls").stdout == ""


def relay(start: Start, address: str, target: str) -> subprocess.Popen[str]:
    process = start("relay", address, target)
    assert process.stdout is not None
    assert process.stdout.readline() == f"{address} -> {target}\n"
    return process


def other(address: str) -> str:
    return address + "2"


def test_relay_carries_bytes_both_ways(address: str, start: Start) -> None:
    with npipe.listen(address) as listener:
        relay(start, other(address), address)
        with (
            npipe.connect(other(address), connect_timeout=60) as client,
            listener.accept(20) as server,
        ):
            for sender, receiver in ((client, server), (server, client)):
                sender.write(b"bytes")
                assert receiver.read(100) == b"bytes"
            server.close()
            assert client.read(100) == b""


def test_relay_drops_a_client_when_the_target_is_not_there(address: str, start: Start) -> None:
    process = relay(start, other(address), address)
    with npipe.connect(other(address), connect_timeout=60) as client:
        assert client.read(100) == b""
    process.terminate()
    assert process.stderr is not None
    assert address in process.stderr.read()


@pytest.mark.skipif(WINDOWS, reason="terminate() is a kill there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_relay_leaves_no_file_behind(
    address: str, start: Start, directory: Path, number: int
) -> None:
    process = relay(start, other(address), address)
    process.send_signal(number)
    assert process.wait(60) == 0
    assert os.listdir(directory) == []


def test_cat_ends_with_its_input_if_asked(address: str, start: Start) -> None:
    """Else it would outlive the program that started it, where the server says nothing."""
    with npipe.listen(address) as listener:
        process = start("cat", "--until-eof", address)
        with listener.accept(60) as server:
            process.stdin.write("last")  # type: ignore[union-attr]
            process.stdin.close()  # type: ignore[union-attr]
            process.stdin = None
            assert server.read(20) == b"last"
            assert process.wait(60) == 0


@pytest.mark.skipif(WINDOWS, reason="a broken pipe is told otherwise there")
def test_cat_ends_quietly_when_nobody_reads_its_output(address: str, start: Start) -> None:
    with npipe.listen(address) as listener:
        process = start("cat", address)
        process.stdout.close()  # type: ignore[union-attr]
        process.stdout = None
        with listener.accept(60) as server:
            server.write(b"text")
            assert process.communicate(timeout=60) == (None, "")
        assert process.returncode == 1


def test_cat_of_a_program(run: Run) -> None:
    done = run("cat", f'exec:"{sys.executable}" -c "print(7)"')
    assert (done.returncode, done.stdout.strip()) == (0, "7")

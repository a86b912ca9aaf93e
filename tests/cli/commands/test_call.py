"""``npipe call``: parameters, results, errors, time limits."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import npipe
from cli.conftest import WINDOWS, Run, Start
from npipe import rpc


class Test:
    __test__ = False  # not a test, whatever pytest thinks of its name

    def __init__(self) -> None:
        self.over = threading.Event()

    def echo(self, *values: object) -> list[object]:
        return list(values)

    def divide(self, dividend: float, divisor: float) -> float:
        return dividend / divisor

    def digits(self) -> msgspec.Raw:
        return msgspec.Raw(b'{"big": 123456789012345678901234567890, "exact": 1.10}')

    def fail(self) -> None:
        raise rpc.RPCError("out of\napples\x1b[31m", code=-32050, data={"left": 0})

    def wait(self) -> None:
        self.over.wait(60)


@pytest.fixture
def served(address: str) -> Iterator[str]:
    api, target = rpc.API(), Test()
    api.register("test", target)
    with rpc.Server(api) as server:
        server.serve(address)
        yield address
        target.over.set()


def test_words_become_parameters(served: str, run: Run) -> None:
    words = ["0x1", "-7", "latest", "true", '"7"', '{"a": [1]}', "-1.5"]
    done = run("call", served, "test_echo", *words)
    assert done.stdout == '["0x1",-7,"latest",true,"7",{"a":[1]},-1.5]\n'
    assert (done.returncode, done.stderr) == (0, "")


def test_parameters_by_name(served: str, run: Run) -> None:
    done = run("call", "--named", served, "test_divide", "dividend=7", "divisor=-2")
    assert done.stdout == "-3.5\n"


def test_no_digit_is_lost(served: str, run: Run) -> None:
    done = run("call", served, "test_digits")
    assert done.stdout == '{"big":123456789012345678901234567890,"exact":1.10}\n'


def test_json_tells_result_or_error(served: str, run: Run) -> None:
    done = run("call", served, "test_echo", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"result": []})
    done = run("call", served, "test_fail", "--json")
    error = {"code": -32050, "message": "out of\napples\x1b[31m", "data": {"left": 0}}
    assert (done.returncode, json.loads(done.stdout)) == (1, {"error": error})


def test_an_error_is_one_line_that_drives_no_terminal(served: str, run: Run) -> None:
    done = run("call", served, "test_fail")
    assert (done.returncode, done.stdout) == (1, "")
    told = 'test_fail: out of apples [31m (code -32050, data {"left":0})'
    assert done.stderr == f"npipe: {told}\n"


@pytest.mark.parametrize(
    "words",
    [["--tpyo"], ["[1"], ["--named", "x"], ["--named", "a=1", "a=2"], ["--timeout", "0"]],
)
def test_wrong_usage(run: Run, address: str, words: list[str]) -> None:
    done = run("call", address, "test_echo", *words)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_time_limit_on_the_answer(served: str, run: Run) -> None:
    done = run("call", served, "test_wait", "--timeout", "0.5")
    assert done.returncode == 1
    assert done.stderr == f"npipe: {served}: no reply within 0.5 seconds\n"


def test_no_server(address: str, run: Run) -> None:
    done = run("call", address, "test_echo")
    assert done.returncode == 1
    assert done.stderr == f"npipe: no server at {address}; start one with: npipe serve {address}\n"


@pytest.mark.skipif(WINDOWS, reason="a socket file")
def test_a_file_of_that_name_is_pointed_out(directory: Path, run: Run) -> None:
    (directory / "geth.ipc").touch()
    done = run("call", "geth.ipc", "test_echo")
    assert done.stderr.endswith("for the file of that name here write ./geth.ipc\n")


@pytest.mark.skipif(WINDOWS, reason="a socket file")
def test_a_file_that_is_no_socket(address: str, run: Run) -> None:
    Path(address).write_text("mine")
    done = run("call", address, "test_echo")
    assert done.returncode == 1
    assert "this file is not a socket" in done.stderr
    assert "npipe serve" not in done.stderr


@pytest.mark.skipif(WINDOWS, reason="a socket file")
def test_a_stale_socket(address: str, run: Run) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(address)
    done = run("call", address, "test_echo")
    assert done.returncode == 1
    assert "has ended; start it" in done.stderr
    assert f"npipe serve {address}" in done.stderr


def test_wait_waits_for_a_server(address: str, start: Start) -> None:
    process = start("call", address, "test_echo", "1", "--wait")
    api = rpc.API()
    api.register("test", Test())
    with rpc.Server(api) as server:
        server.serve(address)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "[1]\n"), err


def test_a_server_that_hangs_up(address: str, start: Start) -> None:
    with npipe.listen(address) as listener:
        process = start("call", address, "test_echo")
        with listener.accept(20) as connection:
            connection.read(1000)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert "may have been executed" in err
    assert err.count("\n") == 1


def test_a_server_that_talks_nonsense(address: str, start: Start) -> None:
    with npipe.listen(address) as listener:
        process = start("call", address, "test_echo", "--timeout", "2")
        with listener.accept(20) as connection:
            connection.read(1000)
            connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.count("\n") == 1

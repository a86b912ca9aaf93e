"""What ``relay`` and ``cat`` connect, without the commands."""

from __future__ import annotations

import sys

import pytest

import npipe
from cli.conftest import WINDOWS
from npipe.cli import endpoints

ECHO = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read().upper())"


def command(program: str) -> str:
    return f'exec:"{sys.executable}" -c "{program}"'


def test_a_program() -> None:
    with endpoints.dial(command(ECHO)) as connection:
        connection.write(b"hello")
        connection.close_write()
        assert connection.read() == b"HELLO"
        assert connection.peer.pid is not None


def test_a_program_that_has_ended_has_gone() -> None:
    with endpoints.dial(command("")) as connection:
        assert connection.read(1) == b""
        connection.close()
        assert connection.has_gone()


def test_a_pipe(address: str) -> None:
    with endpoints.listen(address) as listener, endpoints.dial(address) as client:
        client.write(b"x")
        with listener.accept(30) as server:
            assert server.read(1) == b"x"


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("exec:", "needs a command"),
        ("exec: ", "needs a command"),
        ("tcp:host:1", "loopback"),
        ("tcp:0.0.0.0:80", "loopback"),
        ("tcp:x", "not a port"),
        ("tcp:70000", "not a port"),
        ("tcp:-1", "not a port"),
        ("udp:1", "scheme"),
    ],
)
def test_what_is_no_endpoint(endpoint: str, words: str) -> None:
    for use in (endpoints.check, endpoints.dial):
        with pytest.raises(ValueError, match=words):
            use(endpoint)


def test_a_program_cannot_be_listened_at() -> None:
    with pytest.raises(ValueError, match="TARGET"):
        endpoints.listen("exec:x")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        endpoints.dial("exec:/nowhere/at/all")


@pytest.mark.skipif(not WINDOWS, reason="Windows pipes only")
def test_a_pipe_as_wsl_writes_it() -> None:
    name = "np-endpoints"
    with endpoints.listen(f"//./pipe/{name}"), npipe.connect(name):
        pass

"""The transcripts, on a session alone and on the server with threads."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

import npipe
from npipe.rpc import API, Server
from rpc.conftest import Wire
from rpc.transcript import FILES, for_shells_only, limits_of, play


class SessionDriver:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lines: deque[str] = deque()

    def send(self, line: str) -> None:
        self._lines.extend(self._wire(line))

    def receive(self) -> str:
        return self._lines.popleft()


class ConnectionDriver:
    def __init__(self, connection: npipe.Connection) -> None:
        self._connection = connection
        self._lines: deque[str] = deque()
        self._rest = b""

    def send(self, line: str) -> None:
        self._connection.write(line.encode() + b"\n")

    def receive(self) -> str:
        while not self._lines:
            data = self._connection.read(65536)
            assert data, "the server closed the connection"
            *lines, self._rest = (self._rest + data).split(b"\n")
            self._lines.extend(line.decode() for line in lines)
        return self._lines.popleft()


@pytest.mark.parametrize(
    "path", [f for f in FILES if not for_shells_only(f)], ids=lambda path: path.stem
)
def test_on_a_session_alone(path: Path, api: API) -> None:
    play(path, SessionDriver(Wire(api, limits=limits_of(path))))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_on_threads(path: Path, api: API, address: str) -> None:
    with Server(api, limits=limits_of(path)) as server:
        server.serve(address)
        with npipe.connect(address) as connection:
            play(path, ConnectionDriver(connection))

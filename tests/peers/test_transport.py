"""npipe's connections against other libraries' on the same kernel objects, both ways round."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import npipe
from peers.programs import PATIENCE, PROGRAMS, Program
from peers.require import require

LARGE = os.urandom(1 << 20)  # bytes; more than any buffer on the way


@pytest.fixture
def address() -> Iterator[str]:
    if sys.platform == "win32":
        yield rf"\\.\pipe\npipe-test-{uuid.uuid4()}"
    else:
        with tempfile.TemporaryDirectory(prefix="np") as directory:
            yield os.path.join(directory, "s")


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> Program:
    chosen: Program = request.param
    return chosen


def exchange(connection: npipe.Connection, data: bytes, half_close: bool) -> bytes:
    """Send ``data`` while reading what comes back: to the end, or as much as was sent."""

    def send() -> None:
        for start in range(0, len(data), 8192):  # a message that multiprocessing takes whole
            connection.write(data[start : start + 8192])
        if half_close:
            connection.close_write()

    received = bytearray()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send)
        while len(received) < len(data) or half_close:
            chunk = connection.read(65536)
            if not chunk:
                break
            received += chunk
        sent.result(PATIENCE)
    return bytes(received)


def echo_one(listener: npipe.Listener) -> None:
    """Serve one client as the other programs do."""
    with listener.accept(PATIENCE) as connection:
        while data := connection.read(65536):
            connection.write(data)


def test_our_client_and_their_server(program: Program, address: str) -> None:
    with program.serving(address):
        for data in (b"hello", LARGE, b"again"):
            with npipe.connect(address, wait=True, connect_timeout=PATIENCE) as connection:
                connection.set_deadline(time.monotonic() + PATIENCE)
                assert exchange(connection, data, program.half_close) == data


def test_our_server_and_their_client(program: Program, address: str) -> None:
    options = {"message_mode": True} if program.message_mode else {}
    with npipe.listen(address, **options) as listener, ThreadPoolExecutor(1) as pool:
        for data in (b"hello", LARGE, b"again"):
            served = pool.submit(echo_one, listener)
            assert program.dial(address, data) == data
            served.result(PATIENCE)


def test_our_deadline_costs_no_byte(program: Program, address: str) -> None:
    with (
        program.serving(address),
        npipe.connect(address, wait=True, connect_timeout=PATIENCE) as connection,
    ):
        for data in (b"first", b"second"):
            connection.set_read_deadline(time.monotonic() + 0.05)
            with pytest.raises(TimeoutError):
                connection.read(1)
            connection.set_read_deadline(time.monotonic() + PATIENCE)
            assert exchange(connection, data, half_close=False) == data


def test_their_death_ends_our_read(program: Program, address: str) -> None:
    with (
        program.serving(address) as process,
        npipe.connect(address, wait=True, connect_timeout=PATIENCE) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        assert exchange(connection, b"alive", half_close=False) == b"alive"
        connection.set_read_deadline(time.monotonic() + PATIENCE)
        reading = pool.submit(connection.read, 1)
        process.kill()
        assert reading.result(PATIENCE) == b""


@pytest.mark.skipif(sys.platform != "win32", reason="these are for Windows pipes")
@pytest.mark.parametrize("message_mode", [False, True], ids=["bytes", "messages"])
@pytest.mark.parametrize("peer", ["winio", "natefinch"])
def test_their_deadline_leaves_our_side_whole(peer: str, address: str, message_mode: bool) -> None:
    program = require(peer)
    with npipe.listen(address, message_mode=message_mode) as listener:
        command = [program, "deadline", address]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            with listener.accept(PATIENCE) as connection:
                connection.set_deadline(time.monotonic() + PATIENCE)
                assert connection.read(1) == b""  # it has timed out, said so, and gone
            output, _ = process.communicate(timeout=PATIENCE)
        assert (output.strip(), process.returncode) == (b"timeout", 0)

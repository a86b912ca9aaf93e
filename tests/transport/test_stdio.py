"""npipe.transport.stdio: a connection over the standard streams of a program."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from npipe.errors import ClosedError
from npipe.transport.stdio import StdioConnection


def echo_program() -> subprocess.Popen[bytes]:
    code = "import os\nwhile data := os.read(0, 99):\n    os.write(1, data)"
    return subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_program_is_written_to_and_read_from_and_ended_by_close() -> None:
    program = echo_program()
    connection = StdioConnection(program.stdout, program.stdin, program)
    assert connection.peer.pid == program.pid
    assert connection.write(memoryview(b"hello")) == 5
    buffer = bytearray(9)
    assert connection.readinto(buffer) == 5
    assert buffer[:5] == b"hello"
    connection.close()
    assert program.returncode == 0
    connection.close()
    for call in (lambda: connection.read(1), lambda: connection.write(b"x")):
        with pytest.raises(ClosedError):
            call()


def test_it_has_no_deadlines_and_says_so() -> None:
    reader, writer = os.pipe()
    with (
        os.fdopen(reader, "rb", 0) as ours,
        os.fdopen(writer, "wb", 0) as theirs,
        StdioConnection(ours, theirs) as connection,
    ):
        assert not connection.has_deadlines
        connection.set_deadline(0)
        connection.write(b"x")
        assert connection.read(1) == b"x"
        connection.close_write()
        assert connection.read() == b""

"""npipe.transport.stdio: a connection over the standard streams of a program."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

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


@contextlib.contextmanager
def loop() -> Iterator[tuple[StdioConnection, int, int]]:
    """A connection to itself, with the descriptors of its pipe for reading and writing."""
    reader, writer = os.pipe()
    with (
        os.fdopen(reader, "rb", 0) as ours,
        os.fdopen(writer, "wb") as theirs,
        StdioConnection(ours, theirs) as connection,
    ):
        yield connection, reader, writer


def test_t06_no_view_of_a_buffer_outlives_a_call() -> None:
    with loop() as (connection, _, _):
        buffer = bytearray(b"hello")
        connection.write(buffer)
        assert connection.readinto(buffer) == 5
        buffer.clear()
        connection.close_write()
        for size in (1, 2):
            buffer = bytearray(size)
            with pytest.raises(ClosedError) as closed:
                connection.write(buffer)
            buffer.clear()
            assert closed.value


def test_t18_buffers_of_any_shape() -> None:
    with loop() as (connection, _, _):
        square = memoryview(bytearray(b"abcdef")).cast("B", [2, 3])
        assert connection.write(square) == 6
        assert connection.write(square[:0]) == connection.write(b"") == 0
        assert connection.readinto(square[:0]) == connection.readinto(bytearray()) == 0
        assert connection.readinto(square) == 6


def test_a_large_write_arrives_whole(threads: ThreadPoolExecutor) -> None:
    with loop() as (connection, _, _):
        data = os.urandom(3 << 20)
        writing = threads.submit(connection.write, data)
        got = bytearray()
        while len(got) < len(data):
            got += connection.read(1 << 24)
        assert (got, writing.result(60)) == (data, len(data))


@pytest.mark.skipif(sys.platform == "win32", reason="signals in the middle of a call")
class TestSignals:
    """A handler runs in the middle of a call of the same thread."""

    @pytest.fixture
    def alarm(self) -> Iterator[Callable[[Callable[[], object]], None]]:
        def rings(handler: Callable[[], object]) -> None:
            signal.signal(signal.SIGALRM, lambda *_: handler())
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)

        before = signal.getsignal(signal.SIGALRM)
        yield rings
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    @pytest.mark.parametrize("call", ["write", "flush", "close_write"])
    def test_t03_a_handler_that_writes_during_a_write_is_refused(self, alarm, call: str) -> None:  # type: ignore[no-untyped-def]
        calls = {"write": (b"x",), "flush": (), "close_write": ()}
        with loop() as (connection, _, _):
            alarm(lambda: getattr(connection, call)(*calls[call]))
            with pytest.raises(RuntimeError, match="in the middle of a call") as cut:
                connection.write(bytes(1 << 20))
            signal.setitimer(signal.ITIMER_REAL, 0)
            # The system call had written a part, whose size the exception took with it.
            assert not hasattr(cut.value, "characters_written")
            with pytest.raises(BrokenPipeError, match="an earlier write was interrupted"):
                connection.write(b"x")

    def test_t03_a_handler_that_reads_during_a_read_is_refused(self, alarm) -> None:  # type: ignore[no-untyped-def]
        with loop() as (connection, _, _):
            alarm(lambda: connection.read(1))
            with pytest.raises(RuntimeError, match="in the middle of a call"):
                connection.read(1)

    def test_t03_a_handler_may_close_a_program_in_the_middle_of_a_write(self, alarm) -> None:  # type: ignore[no-untyped-def]
        program = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        connection = StdioConnection(program.stdout, program.stdin, program)
        alarm(connection.close)
        with pytest.raises((BrokenPipeError, ClosedError)):
            connection.write(bytes(1 << 20))
        assert program.returncode is not None
        assert program.stdin.closed
        assert program.stdout.closed

    def test_t01_files_that_another_program_made_non_blocking(
        self, threads: ThreadPoolExecutor
    ) -> None:
        with loop() as (connection, reader, writer):
            os.set_blocking(reader, False)
            os.set_blocking(writer, False)
            data = os.urandom(1 << 20)
            writing = threads.submit(connection.write, data)
            got = bytearray()
            while len(got) < len(data):
                got += connection.read(1 << 16)
            assert (got, writing.result(60)) == (data, len(data))

    def test_t09_a_write_of_which_it_is_unknown_how_much_went_is_the_last(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write = os.write

        def write_and_ring(*args: Any) -> int:
            write(*args)
            raise KeyboardInterrupt

        with loop() as (connection, _, _):
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", write_and_ring)
                with pytest.raises(KeyboardInterrupt) as cut:
                    connection.write(b"half a message")
            assert not hasattr(cut.value, "characters_written")
            with pytest.raises(BrokenPipeError, match="an earlier write was interrupted"):
                connection.write(b"more")
            assert connection.read(99) == b"half a message"

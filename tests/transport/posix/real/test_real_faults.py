"""Faults that other projects' users reported of local sockets, by the rows of the study (t01 ...).

Those that concern one module alone are in its test file. Here are the ones that need signals, a
fork, another program or an interpreter with options of its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.errors import ClosedError
from npipe.transport.posix.connection import PosixConnection
from npipe.transport.posix.waiting import Direction

# The fixture ``alarm`` takes the timer by which pytest-timeout would end a test that hangs.
pytestmark = pytest.mark.timeout(method="thread")

Pair = tuple[PosixConnection, PosixConnection]
BIG = 8 << 20  # bytes: more than any socket holds


def in_python(code: str, path: str, *options: str) -> str:
    """Run a program of its own (a fork in this one would take its threads along)."""
    command = [sys.executable, *options, "-c", code, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def alarm() -> Iterator[Callable[..., None]]:
    """Call a function from a signal handler: every 2 ms, or once while a direction is busy."""

    def start(function: Callable[..., object], during: Direction | None = None) -> None:
        def handler(*_: object) -> None:
            if during is None:
                function()
            elif during._waiting:
                signal.setitimer(signal.ITIMER_REAL, 0)
                function()

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)

    before = signal.getsignal(signal.SIGALRM)
    yield start
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# t01, t22: options and flags belong to every holder of the open file


def is_untouched(sock: socket.socket) -> bool:
    timeouts = [
        sock.getsockopt(socket.SOL_SOCKET, option, 16)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)
    ]
    return os.get_blocking(sock.fileno()) and timeouts == [bytes(16), bytes(16)]


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a struct timeval")
def test_t01_no_option_or_flag_of_the_socket_is_changed(pair: Pair) -> None:
    ours, theirs = socket.socketpair()
    ends = [*pair, npipe.Connection.adopt(os.dup(ours.fileno()), "/nowhere")]
    for end in ends:
        end.set_deadline(time.monotonic() + 0.01)
        with pytest.raises(TimeoutError):
            end.read(1)
        with socket.socket(fileno=os.dup(end.fileno())) as other:
            assert is_untouched(other)
    ends[-1].close()
    assert is_untouched(ours)
    ours.close()
    theirs.close()


def test_t01_a_child_reads_its_input_from_a_connection(pair: Pair) -> None:
    client, server = pair
    with subprocess.Popen(["cat"], stdin=server, stdout=server, stderr=subprocess.PIPE) as cat:
        server.close()  # the child has its own
        for question in (b"one\n", b"two\n"):
            time.sleep(0.05)  # a real wait: longer than any timeout of the socket was
            client.write(question)
            assert client.read(10) == question
        client.close_write()
        assert client.read() == b""
        assert cat.wait(60) == 0


@pytest.mark.parametrize("blocking", [True, False])
def test_t22_an_adopted_listener_gives_its_flag_back(path: str, blocking: bool) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        sock.setblocking(blocking)
        with npipe.Listener.adopt(os.dup(sock.fileno()), path) as listener:
            with npipe.connect(path), listener.accept(10):
                pass
            os.set_blocking(sock.fileno(), True)  # another program does it at the wrong moment
            with pytest.raises(TimeoutError):
                listener.accept(0.01)
        assert os.get_blocking(sock.fileno()) == blocking


# t02, t03, t09: signals


def test_t02_deadlines_and_close_hold_under_timer_signals(
    pair: Pair, alarm: Callable[..., None]
) -> None:
    client, _ = pair
    alarm(lambda: None)
    client.set_deadline(time.monotonic() + 0.1)
    with pytest.raises(TimeoutError):
        client.read(1)
    with pytest.raises(TimeoutError):
        client.write(bytes(BIG))
    client.set_deadline(None)
    closing = threading.Timer(0.05, client.close)
    closing.start()
    with pytest.raises(ClosedError):
        client.read(1)
    closing.join()


@pytest.mark.parametrize("call", ["write", "close_write", "write_now"])
def test_t03_a_handler_that_writes_during_a_write_is_refused(
    pair: Pair, alarm: Callable[..., None], call: str
) -> None:
    client, server = pair
    calls: dict[str, Callable[[], object]] = {
        "write": lambda: client.write(b"bye\n"),
        "close_write": client.close_write,
        "write_now": lambda: client.write_now(b"bye\n"),
    }
    alarm(calls[call], during=client._out)
    with pytest.raises(RuntimeError, match="in the middle of a call on the same connection") as cut:
        client.write(bytes(BIG))
    client.close()
    assert len(server.read()) == cut.value.characters_written


def test_t03_a_handler_that_reads_during_a_read_is_refused(
    pair: Pair, alarm: Callable[..., None]
) -> None:
    client, server = pair
    for call in (lambda: client.read(1), client.read, lambda: client.readinto(bytearray(1))):
        for outer in (lambda: client.read(1), client.read, client.wait_readable):
            alarm(call, during=client._in)
            with pytest.raises(RuntimeError, match="in the middle of a call"):
                outer()
    server.write(b"x")
    assert client.read(1) == b"x"


def test_t03_a_handler_that_accepts_during_an_accept_is_refused(
    path: str, alarm: Callable[..., None]
) -> None:
    with npipe.listen(path) as listener:
        alarm(lambda: listener.accept(1), during=listener._direction)
        with pytest.raises(RuntimeError, match="in the middle of a call on the same listener"):
            listener.accept()
        with npipe.connect(path), listener.accept(10):
            pass


def test_a_handler_may_read_during_a_write_and_set_deadlines(
    pair: Pair, alarm: Callable[..., None]
) -> None:
    client, server = pair
    server.write(b"stop")
    got = []

    def ring() -> None:
        got.append(client.read(4))
        client.set_write_deadline(time.monotonic() - 1)

    alarm(ring, during=client._out)
    with pytest.raises(TimeoutError):
        client.write(bytes(BIG))
    assert got == [b"stop"]


class Ring(Exception):
    """What the handler of a signal raises."""


def ring() -> None:
    raise Ring


def test_t09_a_write_cut_by_a_handler_is_counted(pair: Pair, alarm: Callable[..., None]) -> None:
    client, server = pair
    alarm(ring, during=client._out)
    with pytest.raises(Ring) as cut:
        client.write(b"A" * BIG)
    count = cut.value.characters_written
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(server.read)
        client.write(b"NEXT")
        client.close()
        assert reading.result(60) == b"A" * count + b"NEXT"


@pytest.mark.parametrize("method", ["write", "write_now"])
@pytest.mark.parametrize("error", [Ring, TimeoutError, KeyboardInterrupt])
def test_t09_a_write_of_which_it_is_unknown_how_much_went_is_the_last(
    pair: Pair, error: type[BaseException], method: str
) -> None:
    # The moment between the system call and the addition, which no timer hits on demand.
    client, server = pair
    send = client._sender._send

    def send_and_ring(*args: object) -> int:
        send(*args)
        raise error

    client._sender._send = send_and_ring
    with pytest.raises(error) as cut:
        getattr(client, method)(b"half a message")
    if not isinstance(cut.value, OSError):
        assert not hasattr(cut.value, "characters_written")
    client._sender._send = send
    for call in (lambda: client.write(b"more"), lambda: client.write_now(b"more")):
        with pytest.raises(BrokenPipeError, match="an earlier write was interrupted"):
            call()
    client.close()
    assert server.read() == b"half a message"


# t04, t05: fork

_ACCEPT_IN_BOTH = """
import os, sys, threading, time, npipe
stuck = 0
for _ in range(20):
    listener = npipe.listen(sys.argv[1])
    child = os.fork()
    if child == 0:
        try:
            listener.accept(timeout=20)
        finally:
            os._exit(0)
    def accept():
        try:
            listener.accept()
        except npipe.ClosedError:
            pass
    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    while not listener._direction._waiting:
        time.sleep(0)
    time.sleep(0.005)
    listener.close()
    thread.join(10)
    stuck += thread.is_alive()
    os.kill(child, 9)
    os.waitpid(child, 0)
print(stuck)
"""


def test_t04_a_child_in_the_same_accept_takes_no_wake_up(path: str) -> None:
    assert in_python(_ACCEPT_IN_BOTH, path, "-Wignore") == "0"


_CHILD_CLOSES = """
import os, sys, threading, time, npipe
listener = npipe.listen(sys.argv[1])
client, server = npipe.connect(sys.argv[1]), listener.accept()
for call in (lambda: client.read(1), lambda: client.write(bytes(8 << 20)), listener.accept):
    threading.Thread(target=call, daemon=True).start()
while not (client._in._waiting and client._out._waiting and listener._direction._waiting):
    time.sleep(0)
child = os.fork()
if child == 0:
    before = len(os.listdir("/proc/self/fd"))
    client.close()
    listener.close()
    after = len(os.listdir("/proc/self/fd"))
    print(before - after, os.path.exists(sys.argv[1]), flush=True)
    os._exit(0)
os.waitpid(child, 0)
server.write(b"x")  # the parent's own connection goes on
print(client.closed)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_t05_a_child_lets_go_of_what_a_thread_of_the_parent_uses(path: str) -> None:
    # Two sockets; the wakers were closed by the fork.
    assert in_python(_CHILD_CLOSES, path, "-Wignore").split() == ["2", "True", "False"]


_FORK_IN_HANDLER = """
import os, signal, sys, npipe
listener = npipe.listen(sys.argv[1])
client, server = npipe.connect(sys.argv[1]), listener.accept()
children = []
signal.signal(signal.SIGALRM, lambda *_: children.append(os.fork()))
signal.setitimer(signal.ITIMER_REAL, 0.05)
import threading
threading.Timer(0.3, server.write, (b"ab",)).start()
print(client.read(1).decode(), flush=True)
if children[0]:
    os.waitpid(children[0], 0)
os._exit(0)
"""


def test_t04_a_fork_in_the_middle_of_a_read_leaves_both_reads_whole(path: str) -> None:
    assert sorted(in_python(_FORK_IN_HANDLER, path, "-Wignore").replace("\n", "")) == ["a", "b"]


# t06, t16: buffers


@pytest.mark.parametrize("kind", ["socket", "memory"])
def test_t06_no_view_of_a_buffer_outlives_the_call(pair: Pair, kind: str) -> None:
    from npipe.transport.memory import memory_pair

    client, other = pair if kind == "socket" else memory_pair()
    client.set_deadline(time.monotonic() + 0.05)
    left, sent = bytearray(BIG), -1
    try:
        client.write(left)
    except TimeoutError as error:
        sent = error.characters_written
        del left[:sent]
    assert len(left) == BIG - sent
    buffer = bytearray(10)
    try:
        client.readinto(buffer)
    except TimeoutError:
        buffer.clear()
    assert not buffer
    client.close()
    other.close()


class Row(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_double))


@pytest.mark.parametrize("kind", ["socket", "memory"])
def test_t18_a_buffer_may_have_any_shape(pair: Pair, kind: str) -> None:
    from npipe.transport.memory import memory_pair

    client, server = pair if kind == "socket" else memory_pair()
    for empty in (b"", bytearray(), (ctypes.c_int * 0)(), ((ctypes.c_int * 3) * 0)()):
        assert client.write(empty) == 0
        if not isinstance(empty, bytes):
            assert server.readinto(empty) == 0
    table = ((ctypes.c_int * 3) * 2)()
    assert client.write(table) == ctypes.sizeof(table)
    assert server.readinto(table) == ctypes.sizeof(table)
    rows = (Row * 2)()
    assert client.write(rows) == server.readinto(rows) == ctypes.sizeof(rows)
    with pytest.raises(TypeError):
        server.readinto(b"read-only")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        client.write("text")  # type: ignore[arg-type]
    client.close()
    server.close()


def test_t12_draining_what_a_read_kept_copies_nothing_else(pair: Pair) -> None:
    client, server = pair
    sent = os.urandom(100_000)
    client.set_read_deadline(time.monotonic() + 0.05)
    with ThreadPoolExecutor() as pool:
        pool.submit(server.write, sent)
        with pytest.raises(TimeoutError):
            client.read()
    client.set_read_deadline(None)
    kept = client._receiver.unread
    got = b"".join(client.read(100) for _ in range(1000))
    assert client._receiver.unread is kept
    assert got == sent


# t13: a ResourceWarning that is an error

_FORGET = """
import gc, os, sys, time, npipe
sys.unraisablehook = lambda problem: None
before = len(os.listdir("/proc/self/fd"))
listener = npipe.listen(sys.argv[1])
client, server = npipe.connect(sys.argv[1]), listener.accept()
client.set_read_deadline(time.monotonic() + 0.02)
try:
    client.read(1)
except TimeoutError:
    pass
del client, server, listener
gc.collect()
print(os.path.exists(sys.argv[1]), len(os.listdir("/proc/self/fd")) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_t13_what_was_forgotten_is_closed_although_the_warning_is_an_error(path: str) -> None:
    assert in_python(_FORGET, path, "-Werror") == "False 0"


# t11: descriptors

_FEW = """
import os, resource, sys, threading, time, npipe
failed = []
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
def handle(connection):
    with connection:
        try:
            connection.write(connection.read(5))
        except OSError as error:
            failed.append(error.strerror)
def serve(listener):
    for connection in listener:
        threading.Thread(target=handle, args=(connection,), daemon=True).start()
with npipe.listen(sys.argv[1]) as listener:
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    child = os.fork()
    if child == 0:
        clients = [npipe.connect(sys.argv[1]) for _ in range(30)]
        time.sleep(0.2)
        answers = []
        for client in clients:
            client.set_deadline(time.monotonic() + 20)
            client.write(b"hello")
            answers.append(client.read(5))
            client.close()
        print(answers.count(b"hello"), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print(len(failed), set(failed))
"""


def test_t11_every_accepted_client_is_served_and_the_rest_waits_in_the_backlog(path: str) -> None:
    assert in_python(_FEW, path, "-Wignore").split() == ["30", "0", "set()"]


# t07: probes


def test_t07_a_listen_that_fails_and_a_question_are_no_clients(path: str) -> None:
    with npipe.listen(path) as listener:
        for _ in range(20):
            with pytest.raises(OSError) as caught:
                npipe.listen(path)
            assert caught.value.errno == errno.EADDRINUSE
            assert npipe.exists(path)
        with pytest.raises(TimeoutError):
            listener.accept(0)
    if sys.platform == "linux":
        assert f"by process {os.getpid()}" in str(caught.value)

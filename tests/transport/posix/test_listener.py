"""npipe.transport.posix.listener: accepting, and the end of it."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import resource

import npipe
from npipe.address import parse
from npipe.errors import ClosedError
from npipe.transport.posix.listener import PosixListener
from npipe.transport.posix.waiting import Direction
from transport.conftest import nothing_leaked


def test_accept_times_out_and_goes_on(path: str) -> None:
    with npipe.listen(path) as listener:
        for timeout in (0.01, 0, -1):
            with pytest.raises(TimeoutError):
                listener.accept(timeout)
        with npipe.connect(path), listener.accept(0.5):
            pass


@pytest.mark.parametrize("timeout", [1e9, 1e18])
def test_accept_may_wait_very_long(path: str, timeout: float) -> None:
    with npipe.listen(path) as listener, npipe.connect(path), listener.accept(timeout):
        pass


def test_t11_a_listener_for_which_no_other_descriptor_is_left_accepts_and_is_woken(
    path: str, monkeypatch: pytest.MonkeyPatch, threads: ThreadPoolExecutor
) -> None:
    def no_descriptor() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("npipe.transport.posix.waiting.Waker", no_descriptor)
    with npipe.listen(path) as listener:
        accepting = threads.submit(listener.accept)
        with npipe.connect(path), accepting.result(60):
            pass
        accepting = threads.submit(listener.accept)
        while not listener._direction.busy:
            time.sleep(0)
        listener.close()
        assert isinstance(accepting.exception(60), npipe.ClosedError)


def test_iteration_accepts_until_closed(path: str, threads: ThreadPoolExecutor) -> None:
    served = []

    def serve() -> None:
        for connection in listener:
            with connection:
                served.append(connection.read())

    with npipe.listen(path) as listener:
        serving = threads.submit(serve)
        for each in (b"1", b"2"):
            with npipe.connect(path) as client:
                client.write(each)
        while len(served) < 2:
            time.sleep(0.001)
    serving.result(60)
    assert served == [b"1", b"2"]


def test_b16_close_may_come_at_any_moment_of_accept(path: str, threads: ThreadPoolExecutor) -> None:
    for _ in range(200):
        listener = npipe.listen(path)
        barrier = threading.Barrier(2)

        def accept(listener: npipe.Listener[npipe.Connection], barrier: threading.Barrier) -> None:
            barrier.wait()
            listener.accept()

        accepting = threads.submit(accept, listener, barrier)
        barrier.wait()
        listener.close()
        assert isinstance(accepting.exception(60), ClosedError)


def test_b17_b18_close_wakes_accept_with_closed_error_and_leaks_nothing(
    path: str, threads: ThreadPoolExecutor
) -> None:
    threads.submit(int).result()  # the pool's own thread is not a leak
    with nothing_leaked():
        for _ in range(50):
            listener = npipe.listen(path)
            accepting = threads.submit(listener.accept)
            listener.close()
            listener.close()
            assert isinstance(accepting.exception(60), ClosedError)


def test_b19_close_is_whole_even_with_a_client_in_the_queue(path: str) -> None:
    listener = npipe.listen(path)
    with npipe.connect(path) as client:
        listener.close()
        assert not os.path.lexists(path)
        assert client.read() == b""
    with pytest.raises(FileNotFoundError):
        npipe.connect(path)


def test_b20_accept_after_close_is_a_closed_error_and_ends_a_loop(path: str) -> None:
    listener = npipe.listen(path)
    listener.close()
    for timeout in (None, 0, 1):
        with pytest.raises(ClosedError, match="this listener has been closed"):
            listener.accept(timeout)
    assert list(listener) == []
    with pytest.raises(ClosedError):
        listener.fileno()  # type: ignore[attr-defined]


def test_an_accept_is_told_of_the_close_also_while_another_one_ends(
    path: str, threads: ThreadPoolExecutor
) -> None:
    listener = npipe.listen(path)
    assert isinstance(listener, PosixListener)
    with listener._direction.lock:  # of a call that has not ended yet
        listener.close()
        assert isinstance(threads.submit(listener.accept, 0).exception(60), ClosedError)
    listener.close()


def test_b21_close_wakes_every_accept(path: str, threads: ThreadPoolExecutor) -> None:
    listener = npipe.listen(path)
    accepting: list[Future[npipe.Connection]] = [threads.submit(listener.accept) for _ in range(8)]
    listener.close()
    assert all(isinstance(each.exception(60), ClosedError) for each in accepting)


def test_accepted_connections_outlive_the_listener(path: str) -> None:
    with npipe.listen(path) as listener:
        client = npipe.connect(path)
        server = listener.accept(10)
    with client, server:
        client.write(b"still here")
        assert server.read(10) == b"still here"


def test_b22_clients_that_come_and_go_cost_nothing(path: str) -> None:
    with npipe.listen(path) as listener, nothing_leaked():
        for _ in range(1000):
            npipe.connect(path).close()
        with npipe.connect(path) as client, listener.accept(10) as server:
            client.write(b"the real one")
            assert server.read(12) == b"the real one"
        with pytest.raises(TimeoutError):
            listener.accept(0)


def test_a_client_that_wrote_and_left_is_served(path: str) -> None:
    with npipe.listen(path) as listener:
        with npipe.connect(path) as client:
            client.write(b"posted")
        with listener.accept(10) as server:
            assert server.read() == b"posted"


def test_a_client_that_only_shut_its_write_side_is_served(path: str) -> None:
    with npipe.listen(path) as listener, npipe.connect(path) as client:
        client.close_write()
        with listener.accept(10) as server:
            assert server.read() == b""
            server.write(b"the date")
        assert client.read() == b"the date"


def test_b23_the_name_stands_between_accepts(path: str) -> None:
    with npipe.listen(path) as listener:
        for _ in range(3):
            assert npipe.exists(path)
            with npipe.connect(path), listener.accept(10):
                pass


def test_b39_a_lack_of_descriptors_is_waited_out(
    path: str, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []
    short = threading.Event()
    pause = Direction.pause

    def seen(self: Direction, seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            short.set()
        pause(self, seconds)

    monkeypatch.setattr(Direction, "pause", seen)
    with npipe.listen(path) as listener, npipe.connect(path):
        with no_descriptors():
            accepting = threads.submit(listener.accept)
            assert short.wait(60)
        accepting.result(60).close()
    assert pauses[:3] == [0.005, 0.01, 0.02]  # it backs off: no spinning, no flood in a log


def test_b39_close_ends_the_waiting_for_descriptors(path: str, threads: ThreadPoolExecutor) -> None:
    listener = npipe.listen(path)
    with npipe.connect(path), no_descriptors():
        with pytest.raises(TimeoutError):
            listener.accept(0.05)
        accepting = threads.submit(listener.accept)
        listener.close()
        assert isinstance(accepting.exception(60), ClosedError)


def test_b39_an_error_that_does_not_pass_is_raised(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: socket.socket) -> None:
        raise OSError(errno.EOPNOTSUPP, "no such thing here")

    with npipe.listen(path) as listener, npipe.connect(path):
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "accept", fail)
            with pytest.raises(OSError, match="no such thing here"):
                listener.accept(10)
        listener.accept(10).close()


def test_b40_closing_removes_the_file_and_frees_the_name(path: str, directory: str) -> None:
    for _ in range(3):
        with npipe.listen(path) as listener:
            assert listener.address == parse(path)
            assert os.listdir(directory) == ["s"]
        assert os.listdir(directory) == []


def test_close_from_a_signal_handler_in_the_middle_of_accept(path: str) -> None:
    import signal

    listener = npipe.listen(path)
    before = signal.signal(signal.SIGALRM, lambda *_: listener.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)  # see the test of a read
        with pytest.raises(ClosedError):
            listener.accept()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_b28_no_time_left_still_takes_who_is_there(path: str) -> None:
    with npipe.listen(path) as listener, npipe.connect(path) as client:
        listener.accept(0).close()
        assert client.read(1) == b""


def test_many_threads_accept_each_client_once(path: str, threads: ThreadPoolExecutor) -> None:
    with npipe.listen(path) as listener:
        accepting = [threads.submit(listener.accept) for _ in range(8)]
        clients = [npipe.connect(path) for _ in range(8)]
        for number, client in enumerate(clients):
            client.write(bytes([number]))
        wait_for(accepting, 60)
        servers = [each.result() for each in accepting]
        assert sorted(each.read(1) for each in servers) == [bytes([each]) for each in range(8)]
        for each in clients + servers:
            each.close()


def test_an_accept_in_line_behind_another_keeps_its_own_timeout(
    path: str, threads: ThreadPoolExecutor
) -> None:
    with npipe.listen(path) as listener:
        first = threads.submit(listener.accept)
        with pytest.raises(TimeoutError):
            listener.accept(0.05)
        listener.close()
        assert isinstance(first.exception(60), ClosedError)


def test_adopt_leaves_the_file_alone(path: str) -> None:
    # Socket activation: systemd made the socket, and will hand it to the next process too.
    mine = socket.socket(socket.AF_UNIX)
    mine.bind(path)
    mine.listen()
    with (
        npipe.Listener.adopt(os.dup(mine.fileno()), parse(path)) as listener,
        npipe.connect(path) as client,
        listener.accept(10) as server,
    ):
        client.write(b"x")
        assert server.read(1) == b"x"
    assert os.path.lexists(path)
    assert npipe.exists(path)
    mine.close()


def test_adopt_refuses_what_does_not_listen(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as idle:
        with pytest.raises(ValueError, match="not a listening socket"):
            npipe.Listener.adopt(idle.fileno(), parse(path))
        os.fstat(idle.fileno())


def test_forgetting_to_close_is_told_and_mended(path: str) -> None:
    listener = npipe.listen(path)
    assert repr(listener) == f"<PosixListener {path} listening>"
    with pytest.warns(ResourceWarning, match="unclosed <PosixListener"):
        del listener
        gc.collect()
    assert not os.path.lexists(path)


def test_a_listener_that_could_not_be_made_is_silent() -> None:
    PosixListener.__new__(PosixListener).__del__()


def test_a_shared_listener_accepts_too_and_leaves_the_file(path: str) -> None:
    with npipe.listen(path, access=0o666) as first, first.share() as second:
        assert second._bound.mode == 0o666  # type: ignore[attr-defined]  # as widely open
        with npipe.connect(path), second.accept(10):
            pass
        second.close()
        assert os.path.lexists(path)  # the file is the first one's
        with npipe.connect(path), first.accept(10):
            pass


@contextlib.contextmanager
def no_descriptors():  # type: ignore[no-untyped-def]
    """Let this process open no further descriptor."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each) for each in os.listdir("/proc/self/fd" if LINUX else "/dev/fd"))
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for each in taken:
            os.close(each)


LINUX = sys.platform == "linux"


def test_a_deadline_ends_every_accept_and_can_be_lifted(
    path: str, threads: ThreadPoolExecutor
) -> None:
    with npipe.listen(path) as listener:
        accepting = [threads.submit(listener.accept) for _ in range(3)]
        while not listener._direction._waiting:  # type: ignore[attr-defined]
            time.sleep(0)
        listener.set_deadline(time.monotonic() + 0.01)
        for each in accepting:
            assert isinstance(each.exception(60), TimeoutError)
        with pytest.raises(TimeoutError):
            listener.accept(60)
        with npipe.connect(path), listener.accept():  # one that is there already is taken
            pass
        listener.set_deadline(None)
        with pytest.raises(TimeoutError):
            listener.accept(0.01)
    with pytest.raises(npipe.ClosedError):
        listener.set_deadline(None)

"""npipe.transport.posix.files: the mode of a socket's file, and who may replace or remove it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)


import npipe
from npipe.transport.posix import files as unix_files
from npipe.transport.posix import lock_file

LINUX = sys.platform == "linux"


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def make_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize(
    ("access", "mode"),
    [("owner", 0o600), ("group", 0o660), ("everyone", 0o666), (0o620, 0o620), (0, 0)],
)
def test_b38_the_mode_is_what_was_asked_for(
    path: str, umask: int, access: str | int, mode: int
) -> None:
    with npipe.listen(path, access=access):
        assert mode_of(path) == mode


@pytest.mark.parametrize("fchmod", [True, False] if LINUX else [False])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_b38_the_mode_is_never_wider_on_the_way(
    path: str, umask: int, fchmod: bool, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    lstat = os.lstat

    def first_look(name: str) -> os.stat_result:
        found = lstat(name)
        seen.append(stat.S_IMODE(found.st_mode))
        return found

    with socket.socket(socket.AF_UNIX) as sock:
        monkeypatch.setattr(os, "lstat", first_look)
        unix_files.bind_file(sock, path, mode, fchmod=fchmod)
        assert seen[0] & ~mode == 0, "right after bind()"
    assert stat.S_IMODE(lstat(path).st_mode) == mode
    now = os.umask(umask)
    assert now == umask, "the umask is as it was"


def test_b38_a_live_socket_is_not_touched(path: str, directory: str) -> None:
    with npipe.listen(path) as listener:
        before = os.lstat(path)
        for access in ("owner", "everyone"):
            with pytest.raises(OSError, match=f"served already by process {os.getpid()}") as caught:
                npipe.listen(path, access=access)
            assert caught.value.errno == errno.EADDRINUSE
        assert os.lstat(path) == before
        assert os.listdir(directory) == ["s"]
        with npipe.connect(path), listener.accept(10):
            pass


def test_b24_a_second_listener_gets_address_in_use(path: str) -> None:
    with npipe.listen(path), pytest.raises(OSError) as caught:
        npipe.listen(path)
    assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, path)


def test_b38_a_live_socket_with_a_full_backlog_is_not_touched(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        clients = []
        while True:
            client = socket.socket(socket.AF_UNIX)
            clients.append(client)
            client.setblocking(False)
            if client.connect_ex(path):
                break
        with pytest.raises(OSError, match="served already") as caught:
            npipe.listen(path)
        assert caught.value.errno == errno.EADDRINUSE
        for each in clients:
            each.close()


def test_b38_a_socket_bound_and_not_yet_listening_is_not_touched(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as starting:
        starting.bind(path)
        with pytest.raises(OSError, match="served already"):
            npipe.listen(path)
        assert os.path.lexists(path)


def test_b38_a_datagram_socket_is_not_touched(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(path)
        with pytest.raises(OSError, match="served already"):
            npipe.listen(path)
        assert os.path.lexists(path)


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "link", "broken link"])
def test_b38_any_other_file_is_not_touched(path: str, directory: str, kind: str) -> None:
    if kind == "file":
        with open(path, "w") as file:
            file.write("precious")
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.symlink("elsewhere", path)
        if kind == "link":
            make_stale(os.path.join(directory, "elsewhere"))
    before = sorted(os.listdir(directory)), os.lstat(path)
    with pytest.raises(FileExistsError, match="that is not a socket exists here"):
        npipe.listen(path)
    assert (sorted(os.listdir(directory)), os.lstat(path)) == before


def test_b38_a_stale_socket_is_taken_over(path: str, directory: str) -> None:
    make_stale(path)
    with npipe.listen(path) as listener, npipe.connect(path), listener.accept(10):
        assert mode_of(path) == 0o600
        assert os.listdir(directory) == ["s"], "no lock file is left"


def test_b38_a_killed_server_leaves_a_stale_socket(path: str) -> None:
    code = "import npipe, sys; x = npipe.listen(sys.argv[1]); print(flush=True); list(x)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdout=subprocess.PIPE, env=env
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        with pytest.raises(OSError, match=f"served already by process {server.pid}"):
            npipe.listen(path)
        server.send_signal(signal.SIGKILL)
    assert os.path.lexists(path)
    npipe.listen(path).close()
    assert not os.path.lexists(path)


def test_b38_of_racing_reclaimers_one_wins(
    path: str, directory: str, threads: ThreadPoolExecutor
) -> None:
    racers = 8
    for _ in range(50):
        make_stale(path)
        barrier = threading.Barrier(racers)

        def race(barrier: threading.Barrier) -> npipe.Listener[npipe.Connection] | None:
            barrier.wait()
            try:
                return npipe.listen(path)
            except OSError as error:
                assert error.errno == errno.EADDRINUSE, error
                return None

        results = [threads.submit(race, barrier) for _ in range(racers)]
        (winner,) = [found for each in results if (found := each.result(60))]
        with npipe.connect(path), winner.accept(10):
            pass
        winner.close()
        assert os.listdir(directory) == []


def test_b38_a_reclaimer_that_dawdles_removes_no_live_socket(
    path: str, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Held up between "it is stale" and removing it: the other must not get to listen meanwhile.
    make_stale(path)
    judged, other_is_here, go_on = threading.Event(), threading.Event(), threading.Event()
    probe, locked = unix_files.probe, lock_file._locked

    def judge_and_dawdle(path: str) -> int:
        verdict = probe(path)
        if not judged.is_set():
            judged.set()
            go_on.wait(60)
        return verdict

    def tell_and_lock(descriptor: int) -> bool:
        if judged.is_set():
            other_is_here.set()
        return locked(descriptor)

    monkeypatch.setattr(unix_files, "probe", judge_and_dawdle)
    monkeypatch.setattr(lock_file, "_locked", tell_and_lock)
    first = threads.submit(npipe.listen, path)
    assert judged.wait(60)
    second = threads.submit(npipe.listen, path)
    assert other_is_here.wait(60)
    go_on.set()
    with first.result(60) as listener, npipe.connect(path), listener.accept(10):
        error = second.exception(60)
        assert isinstance(error, OSError)
        assert error.errno == errno.EADDRINUSE


@pytest.mark.skipif(not LINUX, reason="how Linux widens a mode")
@pytest.mark.parametrize("swap", [os.symlink, os.link])
def test_b38_no_other_file_is_opened_to_everyone(
    path: str, directory: str, monkeypatch: pytest.MonkeyPatch, swap: Callable[[str, str], None]
) -> None:
    # Someone who may write to the directory puts something else in the socket's place.
    secret = os.path.join(directory, "secret")
    os.close(os.open(secret, os.O_CREAT, 0o600))
    look = os.lstat
    looks: list[str] = []

    def look_and_swap(name: str) -> os.stat_result:
        found = look(name)
        looks.append(name)
        if looks.count(path) == 1:  # at the socket just made: its mode is not wide enough yet
            os.unlink(path)
            swap(secret, path)
        return found

    monkeypatch.setattr(unix_files.os, "lstat", look_and_swap)
    with pytest.raises(OSError):
        npipe.listen(path, access="everyone")
    monkeypatch.undo()
    assert mode_of(secret) == 0o600


def test_b38_close_removes_only_what_is_still_ours(path: str, directory: str) -> None:
    with npipe.listen(path):
        os.unlink(path)
        make_stale(path)  # someone put another socket there
        before = os.lstat(path)
    assert os.lstat(path) == before


def test_close_when_the_file_is_gone_already(path: str) -> None:
    with npipe.listen(path):
        os.unlink(path)


def test_close_finds_its_file_from_another_directory(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory)
    with npipe.listen("./s"):
        monkeypatch.chdir("/")
    assert os.listdir(directory) == []


def test_a_forked_child_removes_nothing(path: str) -> None:
    bound = unix_files.bind(npipe.Address("unix", path), mode=0o600, backlog=1)
    parent = os.getpid()
    with pytest.MonkeyPatch.context() as patch:  # what release() sees in a child
        patch.setattr(os, "getpid", lambda: parent + 1)
        bound.release()
    assert os.path.lexists(path)
    bound.socket.close()


def test_a_listen_that_fails_leaves_nothing(
    path: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: socket.socket, backlog: int) -> None:
        raise OSError(errno.ENOBUFS, "no memory")

    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "listen", fail)
        with pytest.raises(OSError, match="no memory"):
            npipe.listen(path)
    assert os.listdir(directory) == []


def test_a_directory_that_is_not_there(directory: str) -> None:
    with pytest.raises(FileNotFoundError):
        npipe.listen(directory + "/no/s")

"""Where sockets stand, and whose they are: rows t10, t14, t20, t21, t23 to t26 of the study."""

from __future__ import annotations

import errno
import io
import os
import pathlib
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import fcntl

import npipe
from npipe.errors import ClosedError
from npipe.transport.posix import files, lock_file, peer
from transport.conftest import as_user

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become other users")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux")
OTHER = 12345  # a uid


@pytest.fixture
def runtime(directory: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A runtime directory of this user's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
    return directory


# t10: uids without a mapping


@on_linux
@pytest.mark.parametrize(
    ("table", "known"),
    [("0 0 4294967295\n", True), ("0 1000 1\n", False), ("0 0 65534\n65535 65535 9\n", False)],
)
def test_t10_an_unmapped_uid_is_nobodys(
    directory: str, monkeypatch: pytest.MonkeyPatch, table: str, known: bool
) -> None:
    there = pathlib.Path(directory, "uid_map")
    there.write_text(table)
    opened = open
    monkeypatch.setattr(
        "builtins.open",
        lambda name, *rest: opened(there if name == "/proc/self/uid_map" else name, *rest),
    )
    assert peer._known(65534, "uid") == (65534 if known else None)
    assert peer._known(1000, "uid") == 1000
    monkeypatch.setattr("builtins.open", lambda *_: (_ for _ in ()).throw(OSError()))
    assert peer._known(65534, "uid") is None


# t14: the runtime directory


@as_root
def test_t14_root_makes_nothing_in_a_users_runtime_directory(runtime: str) -> None:
    os.chown(runtime, OTHER, OTHER)
    with pytest.raises(PermissionError, match=f"belongs to uid {OTHER}.* give a path"):
        npipe.listen("svc")
    assert os.listdir(runtime) == []
    assert as_user(OTHER, lambda: npipe.listen("svc").close()) == "None"


@as_root
def test_t14_the_directory_is_named_by_the_uid_that_it_is_checked_by(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", directory)
    os.chmod(directory, 0o1777)
    os.seteuid(OTHER)
    try:
        npipe.listen("svc").close()
    finally:
        os.seteuid(0)
    npipe.listen("svc").close()
    assert sorted(os.listdir(directory)) == ["npipe-0", f"npipe-{OTHER}"]


def test_t14_a_runtime_directory_that_is_not_there_is_named(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime + "/gone")
    with pytest.raises(FileNotFoundError, match=r"XDG_RUNTIME_DIR names .*/gone, which does not"):
        npipe.listen("svc")


# t20: names and locks


def test_t20_a_name_and_the_same_with_lock_can_both_be_served(runtime: str) -> None:
    with npipe.listen("job.lock"), npipe.listen("job"), npipe.listen("job.lock.lock"):
        assert npipe.list_pipes() == ["job", "job.lock", "job.lock.lock"]
    assert os.listdir(runtime + "/npipe") == []


def test_t20_what_else_is_called_lock_is_not_in_the_way(path: str) -> None:
    os.mkdir(path + ".lock")
    npipe.listen(path).close()
    os.rmdir(path + ".lock")
    with open(path + ".lock", "w") as pid_file:
        fcntl.flock(pid_file, fcntl.LOCK_EX)
        npipe.listen(path).close()


def test_t20_errors_of_the_lock_are_about_the_socket(path: str, directory: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"the directory does not exist: '.*/gone/s'"):
        npipe.listen(directory + "/gone/s")
    os.mkdir(lock_file.lock_path(path))
    with pytest.raises(IsADirectoryError, match=r"npipe-lock is in the way: '.*/s'"):
        npipe.listen(path)


def test_t20_a_socket_of_another_user_is_told_from_one_that_is_served(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    monkeypatch.setattr(files, "probe", lambda _: errno.EACCES)
    with pytest.raises(PermissionError, match=f"a socket of uid {os.geteuid()} exists here"):
        npipe.listen(path)


# t21: file systems


def test_t21_no_locks_is_a_clear_error_and_leaves_nothing(
    path: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock_file.fcntl, "flock", no_locks)
    with pytest.raises(OSError, match=r"no file locks .*: '.*/s'"):
        npipe.listen(path)
    assert os.listdir(directory) == []


@on_linux
def test_t21_no_proc_is_a_clear_error_and_leaves_nothing(
    path: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chmod = os.chmod

    def no_proc(where: str, mode: int) -> None:
        chmod(where.replace("/proc/", "/not-mounted/"), mode)

    monkeypatch.setattr(os, "chmod", no_proc)
    with pytest.raises(OSError, match=r"needs /proc, which is missing: '.*/s'"):
        npipe.listen(path, access="everyone")
    assert os.listdir(directory) == []


@on_linux
def test_t21_a_file_system_without_modes_is_a_clear_error_and_leaves_nothing(
    path: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_widen", lambda *_: None)
    with pytest.raises(OSError, match="gave the socket the mode 0o644 instead of 0o666"):
        npipe.listen(path, access="everyone")
    assert os.listdir(directory) == []


def test_a_bare_name_for_everyone_does_not_start(runtime: str) -> None:
    for access in ("everyone", "group", 0o606):
        with pytest.raises(ValueError, match="only its owner may enter: give a path"):
            npipe.listen("svc", access=access)
    npipe.listen(os.path.join(runtime, "svc"), access="everyone").close()


# t23 to t26: decided


def test_t23_a_missing_server_names_the_place_that_was_not_looked_at(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match=r"Not looked at: .*/npipe-\d+, where"):
        npipe.connect("svc")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("TMPDIR", runtime)
    with pytest.raises(FileNotFoundError, match=r"Not looked at: /run/user/\d+/npipe, where"):
        npipe.connect("svc")
    with pytest.raises(FileNotFoundError) as caught:
        npipe.connect(runtime + "/svc")
    assert "looked" not in str(caught.value)


def test_t24_a_path_object_is_an_address(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where = pathlib.Path(path)
    with npipe.listen(where) as listener, npipe.connect(where) as client:
        assert npipe.exists(where)
        with listener.accept(10) as server:
            copied = npipe.Connection.adopt(os.dup(server.fileno()), where)
            assert copied.remote_address == client.remote_address
            copied.close()
    monkeypatch.chdir(where.parent)
    with npipe.listen(pathlib.Path("s")):  # a path, and no bare name
        assert os.path.exists(path)


_DAEMON = """
import os, sys, npipe
listener = npipe.listen(sys.argv[1])
if os.fork():
    listener.detach()
    sys.exit()
listener.claim()
sys.stdin.close(); os.close(1)
with listener, listener.accept(60) as client:
    client.write(b"from the daemon")
"""


def test_t25_a_daemon_takes_the_claim_over(path: str) -> None:
    command = [sys.executable, "-Wignore", "-c", _DAEMON, path]
    subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True)
    with npipe.connect(path) as client:
        assert client.read() == b"from the daemon"
    deadline = time.monotonic() + 30
    while os.path.exists(path):  # the daemon removes it at the end
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_t25_detach_leaves_a_blocking_socket_and_its_file(path: str) -> None:
    listener = npipe.listen(path)
    with ThreadPoolExecutor() as pool:
        accepting = pool.submit(listener.accept)
        descriptor = listener.detach()
        assert isinstance(accepting.exception(60), ClosedError)
    with socket.socket(fileno=descriptor) as sock:
        assert os.get_blocking(sock.fileno())
        with npipe.connect(path), sock.accept()[0] as client:
            client.send(b"x")
    with pytest.raises(ClosedError):
        listener.detach()
    assert stat.S_ISSOCK(os.lstat(path).st_mode)
    os.unlink(path)


def test_t25_claim_removes_the_file_of_an_adopted_socket(path: str) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    with npipe.Listener.adopt(sock.detach(), path) as listener:
        listener.claim()
    assert not os.path.exists(path)
    with pytest.raises(ClosedError):
        listener.claim()
    if sys.platform == "linux":
        address = npipe.Address("abstract", f"npipe-test-{os.getpid()}")
        with npipe.listen(address) as listener, pytest.raises(io.UnsupportedOperation):
            listener.claim()


def test_t26_a_relative_path_is_looked_up_at_each_use(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(directory + "/elsewhere")
    monkeypatch.chdir(directory)
    with npipe.listen("./s") as listener:
        assert str(listener.address) == "./s"
        monkeypatch.chdir("elsewhere")
        with pytest.raises(FileNotFoundError):
            npipe.connect(listener.address)
        monkeypatch.chdir("..")
        npipe.connect(listener.address).close()
        monkeypatch.chdir("elsewhere")
    assert os.listdir(directory) == ["elsewhere"]  # its own file was removed

"""npipe.transport.posix.lock_file: one server at a time takes an address."""

from __future__ import annotations

import os
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import fcntl

import npipe
from npipe.address import parse
from npipe.transport.posix import connect as posix
from npipe.transport.posix import files as unix_files
from npipe.transport.posix import lock_file


def test_b38_a_lock_that_lost_its_name_is_no_lock(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The holder removes the file and lets go, between our opening and our locking it.
    locked = lock_file._locked
    opened: list[int] = []

    def lock_late(descriptor: int) -> bool:
        opened.append(descriptor)
        if len(opened) == 1:
            os.unlink(lock_file.lock_path(path))
        return locked(descriptor)

    monkeypatch.setattr(lock_file, "_locked", lock_late)
    with lock_file.lock_address(path, 10):
        assert len(opened) == 2
        assert os.fstat(opened[1]).st_ino == os.lstat(lock_file.lock_path(path)).st_ino


def test_a_lock_file_left_by_a_crash_is_no_obstacle(path: str, directory: str) -> None:
    with open(lock_file.lock_path(path), "w"):
        pass
    with npipe.listen(path):
        assert os.listdir(directory) == ["s"]


def test_a_file_that_only_has_the_name_of_a_lock_is_kept(path: str, directory: str) -> None:
    with open(lock_file.lock_path(path), "w") as file:
        file.write("precious")
    npipe.listen(path).close()
    with open(lock_file.lock_path(path)) as file:
        assert file.read() == "precious"


def test_a_lock_that_is_never_given_up_is_told(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_files, "LOCK_PATIENCE", 0.05)
    with open(lock_file.lock_path(path), "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(
            TimeoutError, match=r"another process has been taking this address.*/s'"
        ):
            npipe.listen(path)
    assert not os.path.lexists(path)


def test_a_caller_with_no_patience_is_told_at_once(path: str) -> None:
    with open(lock_file.lock_path(path), "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="another process has been taking this address"):
            posix.bind(parse(path), patience=0)
    bound = posix.bind(parse(path), patience=0)
    bound.release()
    bound.socket.close()


def test_a_lock_is_not_taken_through_a_link(path: str, directory: str) -> None:
    os.symlink("elsewhere", lock_file.lock_path(path))
    with pytest.raises(OSError):
        npipe.listen(path)
    assert os.listdir(directory) == [".s.npipe-lock"]

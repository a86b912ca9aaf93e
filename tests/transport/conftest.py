"""What the tests of the POSIX backend share."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import npipe


@pytest.fixture
def directory() -> Iterator[str]:
    """A directory with a short name: the path of a socket may have 107 bytes."""
    made = tempfile.mkdtemp(prefix="np")
    yield made
    shutil.rmtree(made)


@pytest.fixture
def path(directory: str) -> str:
    return os.path.join(directory, "s")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=64) as pool:
        yield pool


@pytest.fixture
def pair(path: str) -> Iterator[tuple[npipe.Connection, npipe.Connection]]:
    """The client's and the server's end of one connection."""
    with (
        npipe.listen(path) as listener,
        npipe.connect(path) as client,
        listener.accept(10) as server,
    ):
        yield client, server


@contextlib.contextmanager
def nothing_leaked() -> Iterator[None]:
    """Descriptors are afterwards what they were before, and no thread is left."""
    before = _descriptors()
    with no_thread_left():
        yield
    assert _descriptors() == before


def _descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))


@contextlib.contextmanager
def no_thread_left() -> Iterator[None]:
    """Each thread begun in the block has ended. What an earlier test began may end meanwhile."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def as_user(uid: int, work: Callable[[], object]) -> str:
    """Do ``work`` as another user, in a child process; return what it returned or raised."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            answer = str(work())
        except BaseException as error:
            answer = type(error).__name__
        os.write(writer, answer.encode())
        os._exit(0)
    os.close(writer)
    with open(reader) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    return text

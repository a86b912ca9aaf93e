"""The public conformance suite on every backend that this system has."""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import uuid
from collections.abc import Callable
from unittest import mock

import pytest

import npipe
from npipe.address import parse
from npipe.testing import CASES, Case, check_case, memory_pair

Pair = tuple[npipe.Connection, npipe.Connection, Callable[[], None]]


def connected(address: npipe.Address | str, **options: bool) -> Pair:
    listener = npipe.listen(address, **options)
    client = npipe.connect(address, connect_timeout=60)
    server = listener.accept(timeout=60)

    def stop() -> None:
        client.close()
        server.close()
        listener.close()

    return client, server, stop


def memory() -> Pair:
    c1, c2 = memory_pair()

    def stop() -> None:
        c1.close()
        c2.close()

    return c1, c2, stop


def unix() -> Pair:
    with tempfile.TemporaryDirectory(prefix="np") as directory:
        path = os.path.join(directory, "s")
        client, server, stop = connected(path)
        os.rename(path, path + "2")  # so that the directory can go; the connection lives on
        os.unlink(path + "2")
    return client, server, stop


def unix_portable() -> Pair:
    """What runs on macOS and BSD: no eventfd."""
    from npipe.transport.posix import waiting, waker

    without_eventfd = functools.partial(waker.Waker, eventfd=False)
    as_elsewhere = mock.patch.object(waiting, "Waker", without_eventfd)
    as_elsewhere.start()
    client, server, stop = unix()

    def stop_and_restore() -> None:
        stop()
        as_elsewhere.stop()

    return client, server, stop_and_restore


def abstract() -> Pair:
    return connected(parse(f"@npipe-test-{uuid.uuid4()}", abstract=True))


def pipe() -> Pair:
    return connected(rf"\\.\pipe\npipe-test-{uuid.uuid4()}")


def message_pipe() -> Pair:
    return connected(rf"\\.\pipe\npipe-test-{uuid.uuid4()}", message_mode=True)


def swapped(make: Callable[[], Pair]) -> Callable[[], Pair]:
    """The accepted end first: it must be as good a connection as the one that connected."""

    def make_swapped() -> Pair:
        c1, c2, stop = make()
        return c2, c1, stop

    make_swapped.__name__ = make.__name__ + "-swapped"
    return make_swapped


BACKENDS: list[Callable[[], Pair]] = [memory]
if sys.platform == "win32":
    BACKENDS += [pipe, message_pipe, swapped(pipe), swapped(message_pipe)]
else:
    BACKENDS += [unix, swapped(unix)]
if sys.platform == "linux":
    BACKENDS += [abstract, unix_portable]


@pytest.mark.parametrize("make_pair", BACKENDS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_connection(case: Case, make_pair: Callable[[], Pair]) -> None:
    check_case(case, make_pair)

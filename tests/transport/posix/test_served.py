"""npipe.transport.posix.served: asking about a socket without becoming its client."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.transport.posix import served

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc")


class Refusing(socket.socket):
    """A datagram socket of a kernel that refuses whatever it is asked, as gVisor does."""

    def connect_ex(self, address: object) -> int:
        return errno.ECONNREFUSED if self.type == socket.SOCK_DGRAM else super().connect_ex(address)


def test_a_probe_tells_the_living_from_the_dead(path: str) -> None:
    assert served.probe(path) == errno.ENOENT
    with npipe.listen(path):
        assert served.probe(path) == errno.EPROTOTYPE
        assert served.is_served(path)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    assert served.probe(path) == errno.ECONNREFUSED
    assert not served.is_served(path)


@on_linux
def test_t17_where_all_are_refused_alike_a_live_name_is_not_taken_for_dead(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with npipe.listen(path) as listener, monkeypatch.context() as kernel:
        kernel.setattr("npipe.transport.posix.served.socket.socket", Refusing)
        assert npipe.exists(path)
        with pytest.raises(OSError) as caught:
            npipe.listen(path)
        assert caught.value.errno == errno.EADDRINUSE
        assert os.path.exists(path)
        with pytest.raises(TimeoutError):
            listener.accept(0)


@on_linux
def test_t17_a_name_that_the_kernel_does_not_list_is_dead_there_too(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.path.join(directory, "no-other-has-this-name")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
    monkeypatch.setattr("npipe.transport.posix.served.socket.socket", Refusing)
    assert not served.is_served(path)
    monkeypatch.setattr(served, "_SOCKETS", "/nowhere")  # no list: then it cannot be known
    assert served.is_served(path)


@on_linux
def test_t07_the_server_is_found_without_connecting(path: str) -> None:
    assert served.server_pid(path) is None
    code = "import npipe, sys; l = npipe.listen(sys.argv[1]); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        assert served.server_pid(path) == server.pid
        assert served.server_pid(os.path.relpath(path)) is None
        server.kill()


@on_linux
def test_an_abstract_name_is_bound_while_it_is_listened_on() -> None:
    name = f"npipe-test-{os.getpid()}"
    assert not served.is_bound_abstract(name)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("\0" + name)
        assert not served.is_bound_abstract(name)
        sock.listen()
        assert served.is_bound_abstract(name)
        assert served.server_pid("@" + name) == os.getpid()

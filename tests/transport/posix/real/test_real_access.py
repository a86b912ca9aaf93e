"""Who may connect, tried by a second real user: the kernel says no, not we."""

from __future__ import annotations

import os
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.address import parse
from transport.conftest import as_user

# Whoever they are, they are not root.
STRANGER = 65534

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become someone else"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@pytest.fixture
def open_path(path: str, directory: str) -> str:
    os.chmod(directory, 0o755)
    return path


@pytest.mark.parametrize("access", ["owner", 0o600])
def test_b31_a_stranger_is_refused_by_default(open_path: str, access: str | int) -> None:
    with npipe.listen(open_path, access=access):
        assert as_user(STRANGER, lambda: npipe.connect(open_path)) == "PermissionError"


def test_b31_the_reason_is_told(open_path: str) -> None:
    def text() -> str:
        try:
            return str(npipe.connect(open_path))
        except PermissionError as error:
            return str(error)

    with npipe.listen(open_path):
        assert "you may not connect to this socket" in as_user(STRANGER, text)


@pytest.mark.parametrize("access", ["everyone", 0o666, 0o602])
def test_a_stranger_is_let_in_if_so_asked(open_path: str, access: str | int) -> None:
    def talk() -> str:
        with npipe.connect(open_path, connect_timeout=60) as client:
            client.write(b"hello")
            return "connected"

    with npipe.listen(open_path, access=access) as listener:
        assert as_user(STRANGER, talk) == "connected"
        with listener.accept(10) as server:
            assert server.read() == b"hello"
            assert (server.peer.uid, server.peer.gid) == (STRANGER, STRANGER)


def test_the_group_is_let_in_if_so_asked(open_path: str) -> None:
    with npipe.listen(open_path, access="group"):
        os.chown(open_path, 0, STRANGER)
        assert "PosixConnection" in as_user(STRANGER, lambda: npipe.connect(open_path))
        assert as_user(STRANGER - 1, lambda: npipe.connect(open_path)) == "PermissionError"


def test_b34_a_strangers_server_is_refused(open_path: str, directory: str) -> None:
    os.chmod(directory, 0o777)
    ready, go = os.pipe()
    child = os.fork()
    if not child:
        os.setresuid(STRANGER, STRANGER, STRANGER)
        with npipe.listen(open_path, access="everyone") as listener:
            os.write(go, b"x")
            while listener.accept(10).read(1) != b"q":
                pass  # the client that refused us
        os._exit(0)
    os.read(ready, 1)
    try:
        with pytest.raises(PermissionError, match=f"it runs as uid {STRANGER}, pid {child}"):
            npipe.connect(open_path, verify_server="owner")
        with npipe.connect(open_path, verify_server=lambda peer: peer.uid == STRANGER) as client:
            assert client.peer.pid == child
            client.write(b"q")
            client.read()
    finally:
        os.waitpid(child, 0)
        os.close(ready)
        os.close(go)


def test_t20_a_strangers_listen_says_whose_it_is_and_touches_nothing(
    open_path: str, directory: str
) -> None:
    os.chmod(directory, 0o1777)
    with npipe.listen(open_path):
        assert as_user(STRANGER, lambda: npipe.listen(open_path)) == "PermissionError"
        assert sorted(os.listdir(directory)) == ["s"]


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets")
class TestAbstract:
    """An abstract socket has no file, so the listener itself looks at each client's uid."""

    @pytest.fixture
    def address(self) -> npipe.Address:
        return parse(f"@npipe-test-{uuid.uuid4()}", abstract=True)

    @pytest.mark.parametrize("access", ["owner", "group", 0o640])
    def test_b31_a_stranger_is_dropped_unseen(
        self, address: npipe.Address, access: str | int, threads: ThreadPoolExecutor
    ) -> None:
        def talk() -> str:
            with npipe.connect(address, connect_timeout=60) as client:
                client.set_deadline(time.monotonic() + 10)
                return f"heard {client.read()!r}"

        with npipe.listen(address, access=access) as listener:
            accepting = threads.submit(listener.accept)
            assert as_user(STRANGER, talk) == "heard b''"
            with npipe.connect(address) as client, accepting.result(60) as server:
                assert server.peer.uid == 0
                client.write(b"the owner")
                assert server.read(9) == b"the owner"

    def test_everyone_lets_a_stranger_in(self, address: npipe.Address) -> None:
        def talk() -> str:
            with npipe.connect(address, connect_timeout=60) as client:
                client.write(b"hello")
                return "connected"

        with npipe.listen(address, access="everyone") as listener:
            assert as_user(STRANGER, talk) == "connected"
            with listener.accept(10) as server:
                assert server.read() == b"hello"

"""npipe.transport.posix.connect: connecting, verifying, looking."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

import npipe
from npipe.address import Address, parse
from npipe.transport.posix import connect as posix
from transport.conftest import nothing_leaked


def make_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
        dead.listen()


def test_b26_no_server_is_an_error_at_once(path: str) -> None:
    with pytest.raises(FileNotFoundError, match="no server is listening there") as caught:
        npipe.connect(path)
    assert caught.value.filename == path
    assert not os.path.lexists(path), "to ask creates nothing"


def test_b26_a_server_that_comes_later_is_waited_for_if_asked(
    path: str, threads: ThreadPoolExecutor
) -> None:
    connecting = threads.submit(npipe.connect, path, connect_timeout=60, wait=True)
    with npipe.listen(path) as listener, listener.accept(30), connecting.result(60):
        pass


@pytest.mark.parametrize("stale", [False, True])
def test_waiting_ends_with_the_deadline(path: str, stale: bool) -> None:
    if stale:
        make_stale(path)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        npipe.connect(path, connect_timeout=0.1, wait=True)
    assert 0.1 <= time.monotonic() - start < 5


@pytest.mark.parametrize("timeout", [0, -1, 0.0001, 0.0009, 1e9])
def test_b27_b28_any_timeout_tries_once_and_means_what_it_says(path: str, timeout: float) -> None:
    with (
        npipe.listen(path) as listener,
        npipe.connect(path, connect_timeout=timeout),
        listener.accept(10),
    ):
        pass


def test_b28_a_timeout_that_has_passed_says_what_is_wrong_and_not_that_it_is_late(
    path: str,
) -> None:
    with pytest.raises(FileNotFoundError):
        npipe.connect(path, connect_timeout=0)


def test_a_stale_socket_refuses(path: str) -> None:
    make_stale(path)
    with pytest.raises(ConnectionRefusedError, match="the server of this socket has ended"):
        npipe.connect(path)


def test_a_file_that_is_no_socket_is_never_waited_for(path: str) -> None:
    with open(path, "w"):
        pass
    for wait in (False, True):
        with pytest.raises(ConnectionRefusedError, match="this file is not a socket"):
            npipe.connect(path, wait=wait)


def test_a_datagram_socket_is_told_apart(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(OSError, match="another kind than a stream"):
            npipe.connect(path, wait=True)


def full_server(path: str) -> Iterator[socket.socket]:
    """A server whose backlog is full."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        clients = []
        try:
            while True:
                client = socket.socket(socket.AF_UNIX)
                clients.append(client)
                client.setblocking(False)
                if client.connect_ex(path):
                    break
            yield server
        finally:
            for each in clients:
                each.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full backlog is a refusal")
def test_a_busy_server_is_waited_for_within_the_deadline(
    path: str, threads: ThreadPoolExecutor
) -> None:
    for server in full_server(path):
        with pytest.raises(TimeoutError), nothing_leaked():
            npipe.connect(path, connect_timeout=0.05)
        connecting = threads.submit(npipe.connect, path, connect_timeout=60)
        server.settimeout(0.05)  # our client may be accepted before it says that it is done
        while not connecting.done():
            with contextlib.suppress(TimeoutError):
                server.accept()[0].close()
        connecting.result().close()


def test_a_refusal_that_means_busy_is_waited_for_where_it_may(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As macOS and BSD do it: their refusal is told from a stale socket's by who is bound to it.
    monkeypatch.setattr(posix, "_REFUSES_WHEN_BUSY", True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)  # and refuses, for it does not listen
        with pytest.raises(TimeoutError):
            npipe.connect(path, connect_timeout=0.05)
    with pytest.raises(ConnectionRefusedError):
        npipe.connect(path, connect_timeout=0.05)


def test_one_deadline_over_everything(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The pauses between tries are part of it: none is longer than what is left.
    slept = []
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: (slept.append(seconds), sleep(seconds)))
    with pytest.raises(TimeoutError):
        npipe.connect(path, connect_timeout=0.02, wait=True)
    assert sum(slept) <= 0.021


@pytest.mark.parametrize("option", ["anonymous", "identification", "impersonation", "delegation"])
def test_impersonation_concerns_windows_only(path: str, option: str) -> None:
    with npipe.listen(path), npipe.connect(path, impersonation=option):
        pass


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"verify_server": "root"}, ValueError),
        ({"verify_server": 0}, ValueError),
        ({"impersonation": "everything"}, ValueError),
    ],
)
def test_wrong_options_are_refused(path: str, wrong, error) -> None:  # type: ignore[no-untyped-def]
    with npipe.listen(path), nothing_leaked(), pytest.raises(error, match="give"):
        npipe.connect(path, **wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"access": "all"},
        {"access": True},
        {"access": 0o1777},
        {"access": -1},
        {"backlog": -1},
        {"buffer_size": -1},
        {"buffer_size": "64K"},
    ],
)
def test_wrong_options_of_listen_are_refused(path: str, wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError):
        npipe.listen(path, **wrong)
    assert not os.path.lexists(path)


def test_a_security_descriptor_is_refused_with_the_reason(path: str) -> None:
    with pytest.raises(
        ValueError, match="Windows security descriptor, which this system does not have"
    ):
        npipe.listen(path, access="D:P(A;;FA;;;WD)")


@pytest.mark.parametrize("options", list(itertools.product([False, True], [False, True], [1, 128])))
@pytest.mark.parametrize("access", ["owner", "everyone"])
def test_no_option_resets_another(path: str, access: str, options) -> None:  # type: ignore[no-untyped-def]
    message_mode, reject_remote, backlog = options
    with npipe.listen(
        path,
        message_mode=message_mode,
        reject_remote=reject_remote,
        access=access,
        backlog=backlog,
        buffer_size=4096,
    ) as listener:
        assert os.lstat(path).st_mode & 0o777 == (0o600 if access == "owner" else 0o666)
        client = npipe.connect(path, connect_timeout=5, wait=True, verify_server="owner")
        with client, listener.accept(10) as server:
            client.write(b"x")
            client.close_write()
            assert server.read() == b"x"


def test_b34_verify_server_accepts_the_owner(path: str) -> None:
    with npipe.listen(path), npipe.connect(path, verify_server="owner") as client:
        assert client.peer.uid == os.geteuid()


def test_b34_verify_server_asks_a_function(path: str) -> None:
    seen: list[npipe.PeerIdentity] = []
    with npipe.listen(path), npipe.connect(path, verify_server=lambda p: seen.append(p) or True):
        assert seen[0].pid == os.getpid()


def test_b34_a_server_that_fails_verification_gets_no_byte(path: str) -> None:
    with npipe.listen(path) as listener, nothing_leaked():
        with pytest.raises(PermissionError, match="the server is not whose it should be"):
            npipe.connect(path, verify_server=lambda peer: False)
        with pytest.raises(ZeroDivisionError):
            npipe.connect(path, verify_server=lambda peer: 1 / 0)
        with pytest.raises(TimeoutError):
            listener.accept(0.01)


def test_b37_exists_and_list_pipes_never_connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        assert not npipe.exists(path)
        server.bind(path)
        server.listen()
        server.setblocking(False)
        for _ in range(10):
            assert npipe.exists(path)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert os.path.lexists(path)
    assert not npipe.exists(path), "a stale socket serves nobody"


@pytest.mark.parametrize("make", [lambda path: open(path, "w").close(), os.mkdir])
def test_other_files_are_no_pipes(path: str, make: Callable[[str], object]) -> None:
    make(path)
    assert not npipe.exists(path)
    assert not npipe.exists(path + "/deeper")


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets")
def test_abstract_sockets() -> None:
    address = parse(f"@npipe-test-{uuid.uuid4()}", abstract=True)
    assert not npipe.exists(address)
    with pytest.raises(ConnectionRefusedError):
        npipe.connect(address)
    with npipe.listen(address) as listener:
        assert npipe.exists(address)
        with pytest.raises(OSError, match=f"by process {os.getpid()}") as caught:
            npipe.listen(address)
        assert caught.value.errno == errno.EADDRINUSE
        with npipe.connect(address) as client, listener.accept(10) as server:
            client.write(b"x")
            assert server.read(1) == b"x"
            assert client.remote_address == address
    assert not npipe.exists(address)


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets")
def test_b37_an_accepted_connection_is_no_server_and_a_longer_name_another() -> None:
    name = f"npipe-test-{uuid.uuid4()}"
    address = parse(f"@{name}", abstract=True)
    with npipe.listen(address) as listener, npipe.connect(address), listener.accept(10):
        listener.close()
        assert not npipe.exists(address)
    with npipe.listen(parse(f"@other @{name}", abstract=True)):
        assert not npipe.exists(address)


@pytest.mark.parametrize("kind", ["unix", "abstract"] if sys.platform == "linux" else ["unix"])
def test_an_address_made_by_hand_may_be_too_long(directory: str, kind: str) -> None:
    address = Address(kind, f"{directory}/{'x' * 108}")  # type: ignore[arg-type]
    for use in (npipe.connect, npipe.listen):
        with nothing_leaked(), pytest.raises(ValueError, match=r"bad address .* too long"):
            use(address)
    assert os.listdir(directory) == []


@pytest.mark.parametrize("remote", [False, True])
def test_windows_pipes_are_refused(remote: bool) -> None:
    path = r"\\host\pipe\x" if remote else r"\\.\pipe\x"
    address = Address("pipe", path, "host" if remote else None)
    for use in (npipe.connect, npipe.listen):
        with pytest.raises(ValueError, match=r"Windows|remote="):
            use(address)


def test_the_addresses_of_both_ends(pair: tuple[npipe.Connection, ...], path: str) -> None:
    for end in pair:
        assert end.local_address == end.remote_address == Address("unix", path)


def test_an_event_ends_a_connect_that_waits(path: str) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.02, cancel.set)
    timer.start()
    with pytest.raises(npipe.ClosedError, match="this attempt to connect"):
        npipe.connect(path, wait=True, cancel=cancel)
    timer.join()
    with npipe.listen(path), pytest.raises(npipe.ClosedError):
        npipe.connect(path, cancel=cancel)


@pytest.mark.parametrize("timeout", [float("nan"), float("inf")])
def test_t19_a_timeout_is_a_number_of_seconds(path: str, timeout: float) -> None:
    with pytest.raises(ValueError, match="or None to wait for ever"):
        npipe.connect(path, wait=True, connect_timeout=timeout)
    with npipe.listen(path) as listener, pytest.raises(ValueError, match="timeout="):
        listener.accept(timeout)

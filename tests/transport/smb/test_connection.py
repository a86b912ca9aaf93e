"""The connection contract over a real Samba, from both ends, and a server that stops answering."""

from __future__ import annotations

import functools
import hashlib
import os
import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import npipe
from npipe.errors import ClosedError
from npipe.testing import CASES, Case, check_case
from npipe.testing.edge_cases import both_ways_at_once
from peers.smbd import PASSWORD, USER

MIB = 1 << 20


def smaller(case: Case) -> Case:
    """Give a case that carries much data less of it: smbd carries a tenth of what a socket does."""
    if case is not both_ways_at_once:
        return case
    return functools.update_wrapper(functools.partial(case, size=4 * MIB), case)


@pytest.mark.parametrize("swapped", [False, True], ids=["client", "behind-samba"])
@pytest.mark.parametrize("case", [smaller(case) for case in CASES], ids=lambda case: case.__name__)
def test_conformance(case, swapped, pair):
    def make() -> tuple[npipe.Connection, npipe.Connection, Callable[[], None]]:
        client, server = pair()

        def stop() -> None:
            client.close()
            server.close()

        return (server, client, stop) if swapped else (client, server, stop)

    check_case(case, make)


def test_what_a_remote_pipe_is_to_its_client(pair, address):
    client, _ = pair()
    assert str(client.remote_address) == str(client.local_address) == address
    assert client.peer == npipe.PeerIdentity(host="127.0.0.1")
    assert not client.has_gone()
    assert PASSWORD not in repr(client)
    with pytest.raises(OSError, match="fileno"):
        client.fileno()


def test_a_server_that_closes_is_the_end_and_has_gone(pair):
    client, server = pair()
    server.write(b"last words")
    server.close()
    assert client.read() == b"last words"
    assert client.has_gone()
    with pytest.raises(BrokenPipeError):
        client.write(b"x")


@pytest.mark.parametrize("encrypt", [True, False])
def test_one_mebibyte_both_ways_on_fifty_connections(listener, address, smbd, encrypt):
    remote = npipe.Smb(USER, PASSWORD, port=smbd.port, encrypt=encrypt)
    count = 50

    def serve() -> None:
        for _ in range(count):
            threading.Thread(target=echo, args=(listener.accept(timeout=60),)).start()

    def echo(connection: npipe.Connection) -> None:
        with connection:
            while data := connection.read(65536):
                connection.write(data)

    def client(seed: int) -> bool:
        sent = random.Random(seed).randbytes(MIB)
        with npipe.connect(address, remote=remote, connect_timeout=60) as connection:
            writing = threading.Thread(target=connection.write, args=(sent,))
            writing.start()
            digest, left = hashlib.sha256(), MIB
            while left:
                data = connection.read(left)
                assert data
                digest.update(data)
                left -= len(data)
            writing.join()
        return digest.digest() == hashlib.sha256(sent).digest()

    serving = threading.Thread(target=serve)
    serving.start()
    with ThreadPoolExecutor(count) as pool:
        assert all(pool.map(client, range(count)))
    serving.join()


@pytest.fixture
def own_process(smbd, pair, remote):
    """Connect with a short keepalive; return both ends and the process of smbd in between."""
    before = set(smbd.children())
    client, server = pair(npipe.Smb(USER, PASSWORD, port=smbd.port, keepalive=0.2))
    (pid,) = set(smbd.children()) - before
    return client, server, pid


def test_a_frozen_server_is_found_by_a_read_without_a_deadline(own_process):
    client, _, pid = own_process
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(ConnectionResetError, match="stopped answering"):
            client.read(1)
        with pytest.raises(ConnectionResetError):
            client.write(b"x")
    finally:
        os.kill(pid, signal.SIGKILL)


def test_an_idle_server_that_answers_is_kept(own_process):
    client, server, _ = own_process
    client.set_read_deadline(None)
    timer = threading.Timer(1.5, server.write, [b"late"])  # seven times the keepalive
    timer.start()
    assert client.read(10) == b"late"
    timer.join()


def test_a_server_killed_in_the_middle_of_a_message(own_process):
    client, _, pid = own_process
    started = threading.Event()

    def kill() -> None:
        started.wait()
        os.kill(pid, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    started.set()
    with pytest.raises(ConnectionResetError) as caught:
        client.write(bytes(64 * MIB))  # nobody reads: it waits in the middle
    killing.join()
    assert not hasattr(caught.value, "characters_written")
    with pytest.raises(ConnectionResetError):
        client.read(1)


def test_a_cut_write_poisons_the_write_side_and_leaves_the_other(pair):
    client, server = pair()
    client.set_write_deadline(0.0)
    with pytest.raises(TimeoutError) as caught:
        client.write(b"x")
    assert caught.value.characters_written == 0  # nothing was on its way
    client.set_write_deadline(None)
    assert client.write(b"x") == 1

    def write() -> None:
        with pytest.raises(TimeoutError):
            client.write(bytes(MIB))

    writing = threading.Thread(target=write)
    writing.start()
    while not client._channel.writing:
        writing.join(0.001)
    while client._channel.writing and writing.is_alive():
        client.set_write_deadline(0.0)
        writing.join(0.01)
    client.set_write_deadline(None)
    with pytest.raises(BrokenPipeError, match="interrupted"):
        client.write(b"y")
    server.write(b"still read")
    assert client.read(100) == b"still read"


def test_close_in_a_signal_handler_ends_the_call_it_interrupts(pair):
    client, _ = pair()
    previous = signal.signal(signal.SIGALRM, lambda *_: client.close())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(ClosedError):
            client.read(1)
    finally:
        signal.signal(signal.SIGALRM, previous)


class Interrupted:
    """A socket; a signal handler runs after the next ``send``."""

    def __init__(self, sock, handler):
        self._sock, self._handler = sock, handler

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def send(self, data):
        sent = self._sock.send(data)
        handler, self._handler = self._handler, lambda: None
        handler()
        return sent


def test_close_in_a_signal_handler_just_after_a_send(pair):
    client, server = pair()
    client._sock = Interrupted(client._sock, client.close)
    with pytest.raises(ClosedError):
        client.write(b"x")
    server.close()


def test_no_descriptor_and_no_thread_is_left(pair):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    client, server = pair()
    client.close(), server.close()
    threads = threading.active_count()
    before = descriptors()
    for _ in range(5):
        client, server = pair()
        client.close(), server.close()
    assert descriptors() <= before
    assert threading.active_count() <= threads


def test_an_unclosed_connection_warns(pair, listener, address, remote):
    connection = npipe.connect(address, remote=remote, connect_timeout=30)
    listener.accept(timeout=30).close()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del connection


def test_json_rpc_over_it_with_reconnecting(smbd, listener, address, remote):
    from npipe import rpc

    class Math:
        def add(self, a: int, b: int) -> int:
            return a + b

    api = rpc.API()
    api.register("math", Math())
    server = rpc.Server(api)
    accepted: list[npipe.Connection] = []

    def serve() -> None:
        for connection in listener:
            accepted.append(connection)
            server.serve_connection(connection)

    serving = threading.Thread(target=serve)
    serving.start()
    before = set(smbd.children())
    try:
        with rpc.connect(address, remote=remote, reconnect=30) as client:
            assert client.call("math_add", 1, 2) == 3
            for pid in set(smbd.children()) - before:
                os.kill(pid, signal.SIGKILL)
            assert any(_answers(client) for _ in range(50))
        assert len(accepted) == 2
    finally:
        listener.close()
        serving.join()
        server.stop()


def _answers(client) -> bool:
    try:
        return client.call("math_add", 2, 3, timeout=30) == 5
    except ConnectionError:  # the call that was on its way when the connection ended
        return False

"""npipe.transport.windows.listener on a real kernel."""

from __future__ import annotations

import errno
import sys
import threading

import pytest

from npipe.address import Address
from npipe.errors import ClosedError
from npipe.transport.windows import connect as windows
from npipe.transport.windows.listener import WindowsListener
from transport.conftest import no_thread_left
from transport.windows.real.ledger import Ledger, Pair, Spawn

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="needs the Windows kernel calls")


def test_b16_b20_b21_close_wakes_every_accept(
    api: Ledger, listener: WindowsListener, spawn: Spawn
) -> None:
    accepting = [spawn(listener.accept) for _ in range(5)]
    api.waits_in("WaitForMultipleObjects")
    listener.close()
    for each in accepting:
        with pytest.raises(ClosedError):
            each.result(60)
    with pytest.raises(ClosedError):
        listener.accept()


def test_accepted_connections_live_on(pair: Pair, listener: WindowsListener) -> None:
    client, server = pair
    listener.close()
    client.write(b"x")
    assert server.read(1) == b"x"
    with pytest.raises(OSError) as caught:  # the name is the connection's still
        windows.listen(listener.address)
    assert caught.value.errno == errno.EADDRINUSE


def test_b16_accept_races_close(api: Ledger, address: Address, spawn: Spawn) -> None:
    for _ in range(50):
        listener = windows.listen(address, api=api)
        accepting = spawn(listener.accept)
        closing = spawn(listener.close)
        with pytest.raises(ClosedError):
            accepting.result(60)
        closing.result(60)


def test_b22_clients_that_came_and_went(api: Ledger, listener: WindowsListener) -> None:
    before = len(api.open)
    for _ in range(100):
        windows.connect(listener.address, api=api).close()
        with pytest.raises(TimeoutError):
            listener.accept(0)
    assert len(api.open) == before


def test_b22_a_client_that_left_data_is_served(api: Ledger, listener: WindowsListener) -> None:
    with windows.connect(listener.address, api=api) as client:
        client.write(b"fire and forget")
    with listener.accept(5) as server:
        assert server.read() == b"fire and forget"


def test_b23_no_client_finds_the_name_gone_or_stays_out(
    api: Ledger, listener: WindowsListener, spawn: Spawn
) -> None:
    def visit() -> None:
        for _ in range(20):
            with windows.connect(listener.address, timeout=60, api=api) as client:
                client.write(b"x")
                assert client.read(1) == b"y"

    visiting = [spawn(visit) for _ in range(5)]
    for _ in range(100):
        with listener.accept(30) as server:
            assert server.read(1) == b"x"
            server.write(b"y")
    for each in visiting:
        each.result(60)


def test_relisten(api: Ledger, address: Address) -> None:
    for _ in range(5):
        windows.listen(address, api=api).close()
        assert not windows.exists(address)


def test_b25_a_timed_out_accept_keeps_its_instance(api: Ledger, listener: WindowsListener) -> None:
    for timeout in (0, 0.001, -1):
        with pytest.raises(TimeoutError):
            listener.accept(timeout)
    with windows.connect(listener.address, api=api), listener.accept(5):
        pass


def test_b25_the_thread_that_waited_has_ended(
    api: Ledger, listener: WindowsListener, spawn: Spawn
) -> None:
    """Windows ends a thread's operations with the thread."""

    def wait_in_vain() -> None:
        with pytest.raises(TimeoutError):
            listener.accept(0.01)

    for _ in range(3):
        thread = threading.Thread(target=wait_in_vain)
        thread.start()
        thread.join()
        with windows.connect(listener.address, api=api), listener.accept(5):
            pass


def test_b12_a_thousand_connections_leave_nothing(api: Ledger, listener: WindowsListener) -> None:
    before = len(api.open)
    with no_thread_left():
        for _ in range(1000):
            with windows.connect(listener.address, api=api) as client, listener.accept(5) as server:
                client.write(b"x")
                assert server.read(1) == b"x"
    assert len(api.open) == before

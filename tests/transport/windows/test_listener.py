"""npipe.transport.windows.listener and instance, on the fake kernel."""

from __future__ import annotations

import contextlib
import copy
import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

import pytest

from npipe.errors import ClosedError
from npipe.transport.windows import connect as windows
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.listener import WindowsListener
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import ADDRESS, SlowCancel, Spawn, after, connect, listen, past


@pytest.mark.parametrize("forever", [60 * 86400, 1e10])
def test_b27_accept_for_many_days(
    fake: FakeKernel32,
    listener: WindowsListener,
    spawn: Spawn,
    monkeypatch: pytest.MonkeyPatch,
    forever: float,
) -> None:
    monkeypatch.setattr(threading, "TIMEOUT_MAX", 4294967.0)  # as on Windows
    accepting = spawn(listener.accept, forever)
    with connect(fake), accepting.result(60):
        pass


def test_signal_handler_closes_the_listener_that_its_thread_accepts_on(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    fake.hooks["WaitForMultipleObjects"] = listener.close
    with pytest.raises(ClosedError):
        listener.accept()


def test_b07_no_wake_reaches_the_event_of_a_listener_that_is_closed_by_then(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting = spawn(listener.accept)
    fake.waiting()
    clients: list[WindowsConnection] = []

    def let_it_end() -> None:
        clients.append(connect(fake))
        wait([accepting], 0.2)

    monkeypatch.setattr(fake, "SetEvent", after(let_it_end, fake.SetEvent))
    listener.close()
    with contextlib.suppress(ClosedError):
        accepting.result(60).close()
    clients[0].close()


def test_b16_close_wakes_an_accept(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn
) -> None:
    accepting = spawn(listener.accept)
    fake.waiting()
    listener.close()
    with pytest.raises(ClosedError):
        accepting.result(60)


def test_b19_close_while_a_client_has_just_come(fake: FakeKernel32) -> None:
    listener = listen(fake)
    with pytest.raises(TimeoutError):
        listener.accept(0)
    client = connect(fake)  # its instance is no longer pending: CancelIoEx says NOT_FOUND
    listener.close()
    assert client.read(1) == b""
    client.close()


def test_b18_close_awaits_what_it_cancelled(
    fake: FakeKernel32, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = listen(fake)
    with pytest.raises(TimeoutError):
        listener.accept(0)
    slow = SlowCancel(fake, spawn)
    monkeypatch.setattr(fake, "CancelIoEx", slow)
    closing = spawn(listener.close)
    assert slow.asked.wait(60)
    slow.end.set()
    closing.result(60)  # the fixture looks for handles closed with an operation pending


def test_b20_accept_after_close(listener: WindowsListener) -> None:
    listener.close()
    listener.close()
    with pytest.raises(ClosedError):
        listener.accept()
    assert list(listener) == []


def test_an_accept_is_told_of_the_close_also_while_another_one_ends(
    fake: FakeKernel32, spawn: Spawn
) -> None:
    listener = listen(fake)
    with listener._turn:  # of a call that has not ended yet
        listener.close()
        assert isinstance(spawn(listener.accept, 0).exception(60), ClosedError)


def test_b21_close_wakes_every_accept(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn
) -> None:
    accepting = [spawn(listener.accept) for _ in range(5)]
    fake.waiting()
    listener.close()
    for each in accepting:
        with pytest.raises(ClosedError):
            each.result(60)


def test_b21_several_accepts_each_get_a_client(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn
) -> None:
    accepting = [spawn(listener.accept) for _ in range(5)]
    clients = [connect(fake, timeout=60) for _ in range(5)]
    servers = [each.result(60) for each in accepting]
    for number, client in enumerate(clients):
        client.write(bytes([number]))
    assert sorted(server.read(1)[0] for server in servers) == list(range(5))
    for each in clients + servers:
        each.close()


@pytest.mark.parametrize("watched", [False, True])
def test_b22_clients_that_came_and_went_cost_nothing(
    fake: FakeKernel32, listener: WindowsListener, watched: bool
) -> None:
    if watched:  # ConnectNamedPipe is pending; else it will say NO_DATA
        with pytest.raises(TimeoutError):
            listener.accept(0)
    before, created = fake.ledger, len(fake.made("CreateNamedPipe"))
    for _ in range(20):
        connect(fake).close()
        with pytest.raises(TimeoutError):
            listener.accept(0)
    assert (fake.ledger, len(fake.made("CreateNamedPipe"))) == (before, created)
    with connect(fake) as client, listener.accept(60) as server:
        client.write(b"x")
        assert server.read(1) == b"x"


@pytest.mark.parametrize("watched", [False, True])
def test_b22_a_client_that_left_data_is_served(
    fake: FakeKernel32, listener: WindowsListener, watched: bool
) -> None:
    if watched:
        with pytest.raises(TimeoutError):
            listener.accept(0)
    with connect(fake) as client:
        client.write(b"fire and forget")
    with listener.accept(60) as server:
        assert server.read() == b"fire and forget"


def test_b22_an_accept_that_polls_finds_the_client_behind_those_that_left(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    with pytest.raises(TimeoutError):
        listener.accept(0)
    gone = [connect(fake) for _ in range(3)]
    with connect(fake) as client:
        for each in gone:
            each.close()
        with listener.accept(0) as server:
            client.write(b"x")
            assert server.read(1) == b"x"


def test_b22_a_failed_accept_leaks_no_instance(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    before = fake.ledger
    fake.fail("ConnectNamedPipe", 87)
    with pytest.raises(OSError, match="87"):
        listener.accept(0)
    with pytest.raises(TimeoutError):
        listener.accept(0)  # makes another in its place
    assert fake.ledger == before
    with connect(fake), listener.accept(60):
        pass


def test_b23_the_name_never_vanishes(fake: FakeKernel32, listener: WindowsListener) -> None:
    """At no call of an accept is there no instance free for the next client."""
    assert len(fake.made("CreateNamedPipe")) >= 2
    free: list[bool] = []

    class Watcher(dict[str, Callable[[], None]]):
        def pop(self, call: str, default: Any = None) -> Any:  # type: ignore[override]
            if call not in ("WaitNamedPipe", "CreateFile"):
                free.append(windows.exists(ADDRESS, api=fake))
            return default

    fake.hooks = Watcher()
    for _ in range(10):
        with connect(fake), listener.accept(60):
            pass
    fake.hooks = {}
    assert len(free) > 100
    assert all(free)


def test_b23_the_last_seat_is_kept_while_the_system_is_full(
    fake: FakeKernel32, spawn: Spawn
) -> None:
    with listen(fake, backlog=2) as listener:
        fake.fail("CreateNamedPipe", *[1450] * 4)
        clients = [connect(fake) for _ in range(2)]
        first = listener.accept(60)  # one seat is left, and a client sits on it
        assert windows.exists(ADDRESS, api=fake)
        second = listener.accept(60)  # waits until the system has room again
        assert len(fake.made("CreateNamedPipe")) >= 2 + 4 + 1
        for each in [*clients, first, second]:
            each.close()


def test_accept_waits_out_a_lack_of_events(fake: FakeKernel32, listener: WindowsListener) -> None:
    with connect(fake) as client:
        fake.fail("CreateEvent", 0, 1450, 1450)
        with listener.accept(60) as server:
            client.write(b"x")
            assert server.read(1) == b"x"


def test_accept_tells_an_error_that_waiting_does_not_cure(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    with connect(fake), pytest.raises(PermissionError):
        fake.fail("CreateNamedPipe", 5)
        listener.accept(60)


def test_b25_a_timed_out_accept_keeps_its_instance(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    for _ in range(3):
        with pytest.raises(TimeoutError):
            listener.accept(0.001)
    assert fake.made("CancelIoEx") == []
    with connect(fake), listener.accept(60):
        pass


def test_b25_an_aborted_instance_is_watched_again(
    fake: FakeKernel32, listener: WindowsListener
) -> None:
    """Windows ends what a thread began when the thread ends; a client may come in between."""
    with pytest.raises(TimeoutError):
        listener.accept(0)
    fake.in_ended_thread(lambda: None)
    with connect(fake) as client, listener.accept(60) as server:
        client.write(b"x")
        assert server.read(1) == b"x"
    fake.in_ended_thread(lambda: None)
    with pytest.raises(TimeoutError):
        listener.accept(0.05)


@pytest.mark.parametrize(("backlog", "made"), [(0, 2), (3, 3), (1000, 63)])
def test_backlog(fake: FakeKernel32, backlog: int, made: int) -> None:
    with listen(fake, backlog=backlog):
        assert len(fake.made("CreateNamedPipe")) == made


def test_set_deadline_wakes_an_accept(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn
) -> None:
    accepting = [spawn(listener.accept) for _ in range(3)]
    fake.waiting()
    listener.set_deadline(past())
    for each in accepting:
        with pytest.raises(TimeoutError):
            each.result(60)
    listener.set_deadline(None)
    with connect(fake), listener.accept(60):
        pass


def test_a_deadline_put_off_lets_an_accept_go_on(
    fake: FakeKernel32, listener: WindowsListener, spawn: Spawn
) -> None:
    listener.set_deadline(time.monotonic() + 600)
    accepting = spawn(listener.accept, 60)
    fake.waiting()
    listener.set_deadline(time.monotonic() + 1200)
    fake.until(lambda: len(fake.made("WaitForMultipleObjects")) > 1)
    with connect(fake), accepting.result(60):
        pass


def test_deadlines_of_a_listener_are_checked(listener: WindowsListener) -> None:
    with pytest.raises(ValueError, match="NaN"):
        listener.set_deadline(float("nan"))
    for timeout in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout="):
            listener.accept(timeout)
    listener.close()
    with pytest.raises(ClosedError):
        listener.set_deadline(None)


def test_a_listener_is_neither_copied_nor_pickled(listener: WindowsListener) -> None:
    with pytest.raises(TypeError):
        copy.copy(listener)

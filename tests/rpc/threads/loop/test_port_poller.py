"""npipe.rpc.threads.loop.port_poller on the fake kernel, and servers on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.threads.client import Client
from npipe.rpc.threads.loop import leader
from npipe.rpc.threads.loop.poller import READ, WRITE
from npipe.rpc.threads.loop.port_poller import WAKE, PortPoller
from npipe.transport.base import Connection
from npipe.transport.memory import memory_pair
from npipe.transport.windows.connection import WindowsConnection
from npipe.transport.windows.listener import WindowsListener
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.fake_kernel32.objects import Port
from transport.windows.faked import connect, listen

QUOTA = 65536

Pair = tuple[WindowsConnection, WindowsConnection]
Spawn = Callable[..., Future[Any]]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    with ThreadPoolExecutor(40) as pool:
        yield pool.submit


@pytest.fixture
def fake() -> Iterator[FakeKernel32]:
    fake = FakeKernel32()
    yield fake
    assert fake.faults == []
    assert fake.ledger == {"handles": 0, "descriptors": 0}


@pytest.fixture
def listener(fake: FakeKernel32) -> Iterator[WindowsListener]:
    with listen(fake) as listener:
        yield listener


@pytest.fixture
def pair(fake: FakeKernel32, listener: WindowsListener) -> Iterator[Pair]:
    """A client, and the server's end."""
    with connect(fake) as client, listener.accept(60) as server:
        yield client, server


@pytest.fixture
def poller(fake: FakeKernel32) -> Iterator[PortPoller]:
    poller = PortPoller(fake)
    yield poller
    poller.close()


def waits(fake: FakeKernel32) -> None:
    """Return once a thread waits at a port."""
    fake.until(lambda: any(port.waiters for port in fake._all(Port)))


# The poller


def test_events_are_reported_until_they_are_dealt_with(poller: PortPoller, pair: Pair) -> None:
    client, server = pair
    assert poller.attach(server)
    poller.change(server.fileno(), 0, READ)
    assert poller.wait(0) == []
    client.write(b"x")
    for _ in range(2):
        assert poller.wait(60) == [(server.fileno(), READ)]
    assert server.read_now(1) == b"x"
    assert poller.wait(0) == []
    client.write(b"y")
    assert poller.wait(60) == [(server.fileno(), READ)]


def test_what_is_waited_for_can_be_changed_and_removed(poller: PortPoller, pair: Pair) -> None:
    client, server = pair
    fd = server.fileno()
    assert poller.attach(server)
    client.write(b"x")
    poller.change(fd, 0, READ | WRITE)
    assert poller.wait(60) == [(fd, READ | WRITE)]
    poller.change(fd, READ | WRITE, WRITE)
    assert poller.wait(60) == [(fd, WRITE)]
    poller.change(fd, WRITE, 0)
    assert poller.wait(0) == []
    poller.change(fd, 0, READ)
    assert poller.wait(60) == [(fd, READ)]


def test_bytes_that_come_while_reading_is_paused(
    fake: FakeKernel32, poller: PortPoller, pair: Pair
) -> None:
    """At most a buffer of them: no read begins before it is waited for."""
    client, server = pair
    fd = server.fileno()
    assert poller.attach(server)
    poller.change(fd, 0, READ)
    assert poller.wait(0) == []
    poller.change(fd, READ, 0)
    client.write(bytes(5000))
    assert poller.wait(0) == []
    assert poller.wait(0) == []
    assert len(fake.made("ReadFile")) == 1
    poller.change(fd, 0, READ)
    assert poller.wait(0) == [(fd, READ)]
    assert server.read_now(QUOTA) == bytes(5000)


def test_a_write_that_waits_is_told_at_its_end(poller: PortPoller, pair: Pair) -> None:
    client, server = pair
    fd = server.fileno()
    assert poller.attach(server)
    assert server.write_now(bytes(QUOTA)) == QUOTA
    assert server.write_now(b"waits") == 0
    poller.change(fd, 0, WRITE)
    assert poller.wait(0) == []
    assert client.read(QUOTA) == bytes(QUOTA)
    for _ in range(2):
        assert poller.wait(60) == [(fd, WRITE)]
    assert server.write_now(b"waits") == 5


@pytest.mark.parametrize("interest", [READ, WRITE])
def test_an_event_that_is_there_when_it_is_waited_for_ends_a_wait(
    fake: FakeKernel32, poller: PortPoller, pair: Pair, spawn: Spawn, interest: int
) -> None:
    client, server = pair
    assert poller.attach(server)
    client.write(b"x")
    waiting = spawn(poller.wait, 60)
    waits(fake)
    poller.change(server.fileno(), 0, interest)
    assert waiting.result(60) == [(server.fileno(), interest)]


def test_a_connection_that_is_added_by_another_thread_is_read(
    fake: FakeKernel32, poller: PortPoller, pair: Pair, spawn: Spawn
) -> None:
    client, server = pair
    assert poller.attach(server)
    waiting = spawn(poller.wait, 60)
    waits(fake)
    poller.change(server.fileno(), 0, READ)
    client.write(b"x")
    assert waiting.result(60) == [(server.fileno(), READ)]
    assert not fake.made("PostQueuedCompletionStatus")  # no event was there


def test_many_connections(
    fake: FakeKernel32, poller: PortPoller, listener: WindowsListener
) -> None:
    """More than one call returns the packets of."""
    clients, servers = [], {}
    for _ in range(300):
        clients.append(connect(fake))
        server = listener.accept(60)
        servers[server.fileno()] = server
        assert poller.attach(server)
        poller.change(server.fileno(), 0, READ)
    for number, client in enumerate(clients):
        client.write(b"%d" % number)
    got = []
    while len(got) < 300:
        events = poller.wait(60)
        assert events
        for fd, event in events:
            assert event == READ
            got.append(servers[fd].read_now(9))
    assert got == [b"%d" % number for number in range(300)]
    for each in (*clients, *servers.values()):
        each.close()
    assert poller.wait(0) == []


def test_wake_ends_a_wait(fake: FakeKernel32, poller: PortPoller, spawn: Spawn) -> None:
    waiting = spawn(poller.wait, None)
    waits(fake)
    poller.wake()
    assert waiting.result(60) == [(WAKE, READ)]
    poller.drain(WAKE)
    assert poller.wait(0) == []


def test_a_wake_is_reported_until_it_is_drained(fake: FakeKernel32, poller: PortPoller) -> None:
    """A wait that only polls must not swallow it."""
    for _ in range(2):
        poller.wake()
        poller.wake()
        poller.drain(0x100)  # another event
        for seconds in (0, None, 0, None):
            assert poller.wait(seconds) == [(WAKE, READ)]
        poller.drain(WAKE)
        assert poller.wait(0) == []
    assert len(fake.made("PostQueuedCompletionStatus")) == 2


def test_a_wait_lasts_until_its_time_at_least(fake: FakeKernel32, poller: PortPoller) -> None:
    for seconds in (0, 0.0001, 1e12, None):
        fake.fail("GetQueuedCompletionStatusEx", 258)
        assert poller.wait(seconds) == []
    asked = [milliseconds for _, milliseconds in fake.made("GetQueuedCompletionStatusEx")]
    assert asked == [0, 1, 0xFFFFFFFE, 0xFFFFFFFF]


def test_what_a_port_does_not_take(
    fake: FakeKernel32, poller: PortPoller, listener: WindowsListener
) -> None:
    ours, theirs = memory_pair()
    with ours, theirs:
        assert not poller.attach(ours)
    other = PortPoller(fake)
    with connect(fake) as client, listener.accept(60) as server:
        server.mode = "r"
        assert not poller.attach(server)
        server.mode = "rw"
        assert other.attach(server)
        assert not poller.attach(server)
        assert client.selectable
    other.close()


def test_changes_after_the_connection_was_closed_do_nothing(
    fake: FakeKernel32, poller: PortPoller, pair: Pair
) -> None:
    server = pair[1]
    fd = server.fileno()
    assert poller.attach(server)
    poller.change(fd, 0, READ)
    server.close()
    poller.change(fd, READ, WRITE)
    assert poller.wait(0) == []


# A server on it


class Service:
    def __init__(self) -> None:
        self.release, self.entered = threading.Event(), threading.Semaphore(0)

    def add(self, a: int, b: int) -> int:
        return a + b

    def size(self, data: str) -> int:
        return len(data)

    def fill(self, size: int) -> str:
        return "x" * size

    def block(self) -> str:
        self.entered.release()
        assert self.release.wait(60)
        return "released"

    async def later(self, number: int) -> int:
        return number


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture(params=[False, True], ids=["bytes", "messages"])
def served(
    request: pytest.FixtureRequest,
    fake: FakeKernel32,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[rpc.Server]:
    """A server on the fake kernel, whose connections are all on its loop."""
    monkeypatch.setattr(leader, "make_poller", lambda: PortPoller(fake))
    api = rpc.API()
    for name in ("add", "size", "fill", "block", "later"):
        api.method(getattr(service, name))
    server = rpc.Server(api)
    server.serve_listener(listen(fake, message_mode=request.param))
    monkeypatch.setattr(server, "_open", None)
    yield server
    service.release.set()
    server.stop()
    fake.until(lambda: not fake._all(Port))


@pytest.fixture
def dial(fake: FakeKernel32, served: rpc.Server) -> Iterator[Callable[[], Client]]:
    made: list[Client] = []

    def make() -> Client:
        made.append(Client(lambda timeout: connect(fake)))
        return made[-1]

    yield make
    for client in made:
        client.close()


Dial = Callable[[], Client]


def test_calls(dial: Dial) -> None:
    client = dial()
    assert [client.call("add", n, 1) for n in range(50)] == list(range(1, 51))
    assert client.call("later", 5) == 5
    assert client.call("size", "y" * 300_000) == 300_000
    assert client.call("fill", 3_000_000) == "x" * 3_000_000
    assert client.batch([("add", (n, n)) for n in range(100)]) == list(range(0, 200, 2))


def test_a_call_that_takes_long_keeps_no_other_waiting(
    dial: Dial, service: Service, spawn: Spawn
) -> None:
    blocking = spawn(dial().call, "block")
    assert service.entered.acquire(timeout=60)
    assert [dial().call("add", n, n) for n in range(5)] == [0, 2, 4, 6, 8]
    service.release.set()
    assert blocking.result(60) == "released"


def test_a_client_that_does_not_read_keeps_no_other_waiting(
    fake: FakeKernel32, dial: Dial, spawn: Spawn
) -> None:
    request = b'{"jsonrpc":"2.0","id":%d,"method":"fill","params":[100000]}\n'
    with connect(fake) as slow:
        slow.write(b"".join(request % number for number in range(20)))
        assert dial().call("add", 1, 2) == 3
        got = b""
        while got.count(b"\n") < 20:
            got += slow.read(1 << 20)
        assert [b'"id":%d' % n in line for n, line in enumerate(got.splitlines())] == [True] * 20


def test_many_clients_and_threads(dial: Dial, spawn: Spawn) -> None:
    def work(number: int) -> list[int]:
        client = dial()
        return [client.call("add", number, n) for n in range(20)]

    done = [spawn(work, number) for number in range(20)]
    for number, each in enumerate(done):
        assert each.result(60) == [number + n for n in range(20)]


def test_clients_that_leave_in_the_midst(fake: FakeKernel32, dial: Dial) -> None:
    request = b'{"jsonrpc":"2.0","id":1,"method":"fill","params":[1000000]}\n'
    for part in (b"", b'{"json', request, request * 3):
        with connect(fake) as client:
            client.write(part)
    assert dial().call("add", 1, 2) == 3


def test_stop_ends_connections_whose_clients_do_not_read(
    fake: FakeKernel32, served: rpc.Server
) -> None:
    request = b'{"jsonrpc":"2.0","id":1,"method":"fill","params":[1000000]}\n'
    with connect(fake) as client:
        client.write(request)
        assert client.read(10)
        served.stop()
        while client.read(1 << 20):
            pass


def test_a_graceful_stop_can_free_the_name_and_loses_nothing(
    fake: FakeKernel32, served: rpc.Server, spawn: Spawn
) -> None:
    request = b'{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}\n'
    message_mode = served._listeners[0]._maker.message_mode  # type: ignore[attr-defined]
    with connect(fake) as client:
        client.write(request)
        fake.until(lambda: fake.made("WriteFile")[1:])
        stopping = spawn(served.stop, drain=60, disconnect=True)
        fake.until(lambda: len(fake.made("has_unread")) > 2)
        assert client.read(100) == b'{"jsonrpc":"2.0","id":1,"result":3}\n'
        stopping.result(60)
        listen(fake, message_mode=message_mode).close()
        assert client.read(100) == b""


def test_what_the_port_refuses_gets_threads(
    fake: FakeKernel32, served: rpc.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Connection] = []
    real = rpc.Server._open

    def note(connection: Connection) -> Any:
        opened.append(connection)
        return real(served, connection)

    monkeypatch.setattr(served, "_open", note)
    fake.fail("CreateIoCompletionPort", 87)
    with Client(lambda timeout: connect(fake)) as client:
        assert client.call("add", 1, 2) == 3
    assert len(opened) == 1

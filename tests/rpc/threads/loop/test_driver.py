"""Tests of npipe.rpc.threads.loop.driver, over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.rpc.threads.loop.driver import CALLS_AT_ONCE, LoopDriver
from npipe.rpc.threads.loop.timeouts import Timeouts

SECONDS = 60
LARGE = 5_000_000


class Service:
    def __init__(self) -> None:
        self.entered, self.release = threading.Semaphore(0), threading.Event()
        self.threads: set[str] = set()
        self.on_note: Callable[[Any], object] = lambda value: None

    @rpc.method(inline=True)
    def quick(self, value: Any) -> Any:
        return value

    def plain(self, value: Any) -> Any:
        self.threads.add(threading.current_thread().name)
        return value

    def note(self, value: Any) -> Any:
        self.on_note(value)
        return value

    def large(self, size: int) -> str:
        return "x" * size

    def block(self) -> str:
        self.entered.release()
        assert self.release.wait(SECONDS)
        return "released"

    def leave(self) -> None:
        sys.exit("not the server's business")

    @rpc.method(inline=False)
    def apart(self, value: Any) -> Any:
        return value

    async def task(self, value: Any) -> Any:
        return value

    def back(self, context: rpc.Context, value: str) -> Any:
        return context.remote.call("home_own", value)

    def loud(self, context: rpc.Context, size: int) -> None:
        """Notify the client until it is told to stop."""
        while not (context.cancelled or self.release.is_set()):
            context.remote.notify("home_own", "y" * size)

    @rpc.subscription
    def flood(self) -> Iterator[str]:
        while True:
            yield "z" * 1000


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.release.set()


Serve = Callable[..., rpc.Server]


@pytest.fixture
def serve(service: Service, address: str) -> Iterator[Serve]:
    api = rpc.API()
    api.register("t", service)
    with contextlib.ExitStack() as stack:

        def start(**limits: Any) -> rpc.Server:
            server = stack.enter_context(rpc.Server(api, limits=rpc.Limits(**limits)))
            server.serve(address)
            return server

        yield start
        service.release.set()


def request(id: int, method: str, *params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": id, "method": f"t_{method}", "params": params}
    return json.dumps(message).encode() + b"\n"


def replies(connection: npipe.Connection, count: int) -> dict[int, Any]:
    data = b""
    connection.set_read_deadline(time.monotonic() + SECONDS)
    while data.count(b"\n") < count:
        more = connection.read(1 << 20)
        assert more, "the server has closed"
        data += more
    return {m["id"]: m.get("result") for m in map(json.loads, data.splitlines())}


def wait_until(condition: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(SECONDS * 200):
        if condition():
            return
        waited.wait(0.005)
    raise AssertionError("it did not happen in time")


def test_a_connection_costs_one_descriptor_and_no_thread(serve: Serve, address: str) -> None:
    serve()
    with rpc.connect(address) as client:
        assert client.call("t_plain", 1) == 1
    threads, descriptors = threading.active_count(), len(os.listdir("/dev/fd"))
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(npipe.connect(address)) for _ in range(100)]
        for connection in connections:
            connection.write(request(1, "plain", 7))
            assert replies(connection, 1) == {1: 7}
        assert threading.active_count() <= threads + 2
        # One at each end; ours has another to be woken by while it waits.
        assert len(os.listdir("/dev/fd")) <= descriptors + 3 * len(connections)


def test_the_leader_runs_plain_functions_until_one_is_slow(
    serve: Serve, service: Service, address: str
) -> None:
    serve()
    with npipe.connect(address) as connection:
        for id in range(20):
            connection.write(request(id, "plain", id))
            assert replies(connection, 1) == {id: id}
        assert len(service.threads) == 1


def test_many_calls_of_one_client_leave_the_others_their_turn(
    serve: Serve, service: Service, address: str
) -> None:
    """A client's calls that came at once are interrupted for those of another."""
    serve()
    many = 10 * CALLS_AT_ONCE
    with npipe.connect(address) as one, npipe.connect(address) as other:
        other.write(request(0, "quick", "known to the server"))
        replies(other, 1)
        calls: list[Any] = []

        def note(value: Any) -> None:
            if value == 0:  # the first call of the many: the other one comes now
                other.write(request(1, "note", "other"))
            calls.append(value)

        service.on_note = note
        one.write(b"".join(request(id, "note", id) for id in range(many)))
        assert replies(one, many) == {id: id for id in range(many)}
        assert replies(other, 1) == {1: "other"}
        assert calls.index("other") <= 2 * CALLS_AT_ONCE


def test_a_slow_call_holds_up_neither_its_own_connection_nor_others(
    serve: Serve, service: Service, address: str
) -> None:
    serve()
    with npipe.connect(address) as one, npipe.connect(address) as other:
        # In one write: what comes after the slow call is in the session when the lead changes.
        one.write(request(1, "block") + request(2, "plain", 2) + request(3, "task", 3))
        assert service.entered.acquire(timeout=SECONDS)
        other.write(request(1, "plain", 1))
        assert replies(other, 1) == {1: 1}
        assert replies(one, 2) == {2: 2, 3: 3}
        service.release.set()
        assert replies(one, 1) == {1: "released"}


def test_more_blocking_calls_than_the_pool_has_threads_hold_up_nothing(
    serve: Serve, service: Service, address: str
) -> None:
    serve()
    with npipe.connect(address) as one, npipe.connect(address) as other:
        one.write(b"".join(request(id, "block") for id in range(50)))
        for _ in range(50):
            assert service.entered.acquire(timeout=SECONDS)
        other.write(request(1, "plain", 1) + request(2, "block"))
        assert replies(other, 1) == {1: 1}
        assert service.entered.acquire(timeout=SECONDS)
        service.release.set()
        assert len(replies(one, 50)) == 50
        assert replies(other, 1) == {2: "released"}


@pytest.mark.skipif(sys.platform == "win32", reason="half-closes a pipe of bytes")
def test_the_end_of_input_while_a_call_has_the_lead_taken_from_it(
    serve: Serve, service: Service, address: str
) -> None:
    server = serve()
    with npipe.connect(address) as connection:
        connection.write(request(1, "block") + request(2, "quick", 2))
        connection.close_write()
        assert service.entered.acquire(timeout=SECONDS)
        assert replies(connection, 1) == {2: 2}
        service.release.set()
        assert replies(connection, 1) == {1: "released"}
        assert connection.read(10) == b""
    wait_until(lambda: server.stats()["connections"]["open"] == 0)


def test_a_broken_stream_after_a_slow_call_ends_the_connection_with_an_error(
    serve: Serve, service: Service, address: str
) -> None:
    serve(message_bytes=1000)
    with npipe.connect(address) as connection:
        connection.write(request(1, "block") + b'{"' + b"x" * 2000)
        data = b""
        while more := connection.read(1000):
            data += more
        assert b"-32700" in data


def test_a_reply_that_nobody_reads_holds_up_nothing_and_is_complete(
    serve: Serve, address: str
) -> None:
    serve()
    with npipe.connect(address) as one, npipe.connect(address) as other:
        one.write(request(1, "large", LARGE) + request(2, "quick", 2))
        assert one.read(1) == b"{"
        other.write(request(1, "plain", 1))
        assert replies(other, 1) == {1: 1}
        data = b"{"
        while data.count(b"\n") < 2:
            data += one.read(1 << 20)
        results = {m["id"]: m["result"] for m in map(json.loads, data.splitlines())}
        assert results == {1: "x" * LARGE, 2: 2}


@pytest.mark.parametrize("method", ["quick", "plain", "apart", "task"])
def test_calls_that_had_to_wait_begin_once_all_has_been_written(
    serve: Serve, address: str, method: str
) -> None:
    # No event of the connection tells of that: each write leaves nothing behind.
    serve(queue_bytes=100)
    with npipe.connect(address) as connection:
        connection.write(b"".join(request(id, method, "v" * 50) for id in range(100)))
        assert replies(connection, 100) == dict.fromkeys(range(100), "v" * 50)


def test_reading_stops_while_too_much_waits_and_goes_on_after_that(
    serve: Serve, service: Service, address: str
) -> None:
    serve(calls=2, message_bytes=10_000)
    count, sent = 3000, threading.Event()
    with npipe.connect(address) as connection:

        def send() -> None:
            for id in range(count):
                connection.write(request(id, "block") if id < 2 else request(id, "plain", "v" * 90))
            sent.set()

        sending = threading.Thread(target=send)
        sending.start()
        for _ in range(2):
            assert service.entered.acquire(timeout=SECONDS)
        assert not sent.wait(0.3)  # 400 KB do not fit into the socket
        service.release.set()
        assert len(replies(connection, count)) == count
        sending.join(SECONDS)


def test_a_flood_of_pushes_leaves_the_others_their_turn(serve: Serve, address: str) -> None:
    serve()
    with npipe.connect(address) as flooded, npipe.connect(address) as other:
        flooded.write(request(1, "subscribe", "flood"))
        reading = threading.Event()

        def read() -> None:
            with contextlib.suppress(OSError):
                while flooded.read(1 << 20):
                    reading.set()

        threading.Thread(target=read, daemon=True).start()
        assert reading.wait(SECONDS)
        for id in range(50):
            other.write(request(id, "plain", id))
            assert replies(other, 1) == {id: id}
        flooded.write(request(2, "quick", 2))  # and its own calls


def test_what_a_function_raises_ends_nothing(serve: Serve, address: str) -> None:
    serve()
    with rpc.connect(address, timeout=SECONDS) as client:
        for _ in range(3):
            with pytest.raises(rpc.RPCError):
                client.call("t_leave")
        assert client.call("t_plain", 1) == 1


class Home:
    @rpc.method(inline=True)
    def own(self, value: str) -> str:
        return value


def home() -> rpc.API:
    api = rpc.API()
    api.register("home", Home())
    return api


def test_a_function_in_the_leader_may_call_its_client(serve: Serve, address: str) -> None:
    serve()
    with rpc.connect(address, api=home(), timeout=SECONDS) as client:
        for number in range(10):
            assert client.call("t_back", str(number)) == str(number)


def test_a_function_that_calls_a_client_that_does_not_read_waits_and_holds_up_nothing(
    serve: Serve, service: Service, address: str
) -> None:
    server = serve(write_timeout=1.0)
    with npipe.connect(address) as one, rpc.connect(address, timeout=SECONDS) as other:
        one.write(request(1, "loud", 10_000))
        assert one.read(1) == b"{"
        assert other.call("t_plain", 1) == 1
        # It is dropped, and the function is told.
        wait_until(lambda: server.stats()["connections"]["open"] == 1)
        assert other.call("t_plain", 2) == 2
    service.release.set()


def test_a_client_that_goes_while_nothing_is_read_from_it_ends_its_calls(
    serve: Serve, service: Service, address: str
) -> None:
    server = serve(calls=1, message_bytes=1000)
    with npipe.connect(address) as connection:
        connection.write(b"".join(request(id, "block") for id in range(100)))
        assert service.entered.acquire(timeout=SECONDS)
    service.release.set()
    wait_until(lambda: server.stats()["connections"]["open"] == 0)


def test_a_slow_reader_that_takes_a_little_is_kept(serve: Serve, address: str) -> None:
    # Linux says that there is room once 160 KiB have been read, and takes more after 32 KiB.
    serve(write_timeout=0.6)
    with npipe.connect(address) as connection:
        connection.write(request(1, "large", LARGE))
        got, end = 0, time.monotonic() + 2.0
        while time.monotonic() < end:
            got += len(connection.read(16384))
            time.sleep(0.1)  # it is this that is tested: some kilobytes a second
        while got < LARGE:
            more = connection.read(1 << 20)
            assert more, "it was dropped"
            got += len(more)


def test_a_cancel_callback_may_stop_the_server(address: str) -> None:
    """The leader runs it, at the end of the client's stream, and no lock may be held then."""

    @rpc.subscription
    def ticks(context: rpc.Context) -> Iterator[int]:
        context.on_cancel(server.stop)
        yield 1
        ended.wait(SECONDS)

    ended = threading.Event()

    api = rpc.API()
    api.register("t", {"ticks": ticks})
    server = rpc.Server(api)
    server.serve(address)
    forever = threading.Thread(target=server.serve_forever, daemon=True)
    forever.start()
    with rpc.connect(address) as client:
        assert next(client.subscribe("t", "ticks")) == 1
    forever.join(SECONDS)
    assert not forever.is_alive()
    ended.set()


@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize("close", ["client", "call", "server"])
def test_a_cancel_callback_that_calls_the_client_gets_an_error(
    address: str, in_process: bool, close: str
) -> None:
    """It runs in the thread that would read the reply, or at the end of the connection."""
    entered, called, found = threading.Event(), threading.Event(), SimpleQueue[Exception]()

    def block(context: rpc.Context) -> None:
        def callback() -> None:
            try:
                context.remote.call("home_own", 1)
            except Exception as error:
                found.put(error)
            called.set()

        context.on_cancel(callback)
        entered.set()
        called.wait(SECONDS)

    api = rpc.API()
    api.register("t", {"block": block})
    with rpc.Server(api) as server:
        server.serve(address)
        with rpc.connect(server if in_process else address, api=home()) as client:
            if close == "call":
                with pytest.raises(TimeoutError):
                    client.call("t_block", timeout=0.1)
                assert isinstance(found.get(timeout=SECONDS), RuntimeError)
                return
            client.notify("t_block")
            assert entered.wait(SECONDS)
            if close == "server":
                server.stop()
        assert isinstance(found.get(timeout=SECONDS), rpc.ConnectionLost)


def no_room(data: bytes, flags: int) -> int:
    """Have the driver ask ``Connection.write_now``."""
    raise BlockingIOError


class Part:
    """A connection that takes one byte of each write."""

    def __init__(self, connection: npipe.Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def write_now(self, data: bytes) -> int:
        return 1


@pytest.mark.skipif(rpc.COMPILED, reason="compiled code calls the method itself")
def test_bytes_wait_only_once_their_time_limit_is_set(
    serve: Serve, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread writes: the leader must not compare the clock with an older limit."""
    server = serve()
    with npipe.connect(address) as connection:
        connection.write(request(1, "quick", 1))
        replies(connection, 1)
        (driver,) = server._drivers
        assert isinstance(driver, LoopDriver)
        stalled: list[bool] = []

        def has_written(self: Timeouts, **options: bool) -> None:
            stalled.append(driver.stalled)

        monkeypatch.setattr(Timeouts, "has_written", has_written)
        driver.connection = Part(driver.connection)  # type: ignore[assignment]
        driver._send = no_room
        driver.session.send(b"{}")
        driver._flush()  # or the leader writes, if it has not finished its last write
        wait_until(lambda: bool(stalled))
        assert not stalled[0]
        wait_until(lambda: driver.stalled or len(stalled) > 1)


def test_what_a_write_raises_ends_the_connection(serve: Serve, address: str) -> None:
    """Its bytes have left the queue, so the client would wait for ever."""

    class Full(Part):
        def write_now(self, data: bytes) -> int:
            raise MemoryError

    server = serve()
    with npipe.connect(address) as connection:
        connection.write(request(1, "quick", 1))
        replies(connection, 1)
        (driver,) = server._drivers
        assert isinstance(driver, LoopDriver)
        driver.connection = Full(driver.connection)  # type: ignore[assignment]
        driver._send = no_room
        driver.session.send(b"{}")
        driver.flush()
        assert connection.read(1) == b""


@pytest.mark.skipif(sys.platform == "win32", reason="there the connection keeps its locks")
@pytest.mark.parametrize("held", ["receive", "send"])
def test_a_connection_is_closed_only_after_the_transfer_in_progress(
    serve: Serve, held: str
) -> None:
    from npipe.address import parse
    from npipe.transport.posix.connection import PosixConnection

    begun, go_on = threading.Event(), threading.Event()

    class Holding(PosixConnection):
        def unlocked(self) -> tuple[Any, Any]:
            def hold(call: Callable[[Any, int], Any]) -> Callable[[Any, int], Any]:
                def run(what: Any, flags: int) -> Any:
                    begun.set()
                    assert go_on.wait(SECONDS)
                    return call(what, flags)

                return run

            receive, send = super().unlocked()
            return (hold(receive), send) if held == "receive" else (receive, hold(send))

    server = serve()
    ours, theirs = socket.socketpair()
    connection = Holding(theirs, parse("/held"))
    with ours:
        server.serve_connection(connection)
        (driver,) = server._drivers
        ours.sendall(request(1, "quick", "x"))
        assert begun.wait(SECONDS)
        closing = threading.Thread(target=driver.close, args=("test",))
        closing.start()
        wait_until(lambda: driver.closed)  # type: ignore[attr-defined]
        if held == "receive":  # it leaves the connection to the leader
            closing.join(SECONDS)
        assert not connection.closed
        go_on.set()
        closing.join(SECONDS)
        wait_until(lambda: connection.closed)
        ours.settimeout(SECONDS)
        while ours.recv(100):
            pass


@pytest.mark.parametrize("method", ["plain", "apart", "task"])
def test_messages_before_an_error_of_the_stream_are_answered(
    serve: Serve, address: str, method: str
) -> None:
    """There are more of them than the leader runs, or than may run, at once."""
    serve(calls=8)
    count = 3 * CALLS_AT_ONCE
    with npipe.connect(address) as connection:
        connection.set_deadline(time.monotonic() + SECONDS)
        calls = b"".join(request(id, method, id) for id in range(count))
        connection.write(calls + b"[" * 600)
        data = b""
        while more := connection.read(1 << 20):
            data += more
    messages = list(map(json.loads, data.splitlines()))
    errors = [message["error"]["code"] for message in messages if "error" in message]
    assert errors == [-32700]
    # Calls that still run in other threads are cancelled by the close. On a busy machine these are
    # also some of "plain", which then counts as slow.
    assert len(messages) > count - 8

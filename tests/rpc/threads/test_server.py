"""The server with threads, over real connections."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

import npipe
from npipe import rpc
from npipe.errors import ClosedError
from npipe.rpc.threads.server import BURST
from npipe.rpc.threads.spin_read import SpinReader
from rpc.conftest import ServeAPI
from rpc.service import Service, make_api
from until import wait_until

Serve = Callable[..., rpc.Server]
CALL = b'{"jsonrpc":"2.0","id":%d,"method":"%b","params":%b}\n'


def call(id: int, method: bytes, params: bytes = b"[]") -> bytes:
    return CALL % (id, method, params)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def serve(service: Service, address: str) -> Iterator[Callable[..., rpc.Server]]:
    """Start a server of the service with these options."""
    servers: list[rpc.Server] = []

    def start(*, message_mode: bool = False, **options: object) -> rpc.Server:
        server = rpc.Server(make_api(service), **options)  # type: ignore[arg-type]
        server.serve(address, message_mode=message_mode)
        servers.append(server)
        return server

    yield start
    service.release.set()
    for server in servers:
        server.stop()


def read_lines(connection: npipe.Connection, count: int) -> list[bytes]:
    data = b""
    while data.count(b"\n") < count:
        more = connection.read(1 << 20)
        assert more, f"the server closed after {data[-200:]!r}"
        data += more
    return data.splitlines()


def test_rpc_bug_04_two_messages_in_one_write(serve: Serve, address: str) -> None:
    serve()
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_noArgsRets") + call(2, b"test_noArgsRets"))
        assert len(read_lines(connection, 2)) == 2


def test_rpc_bug_02_a_large_message_is_read_whole(serve: Serve, address: str) -> None:
    serve()
    text = "x" * (3 << 20)
    with rpc.connect(address) as client:
        assert client.call("test_echoPlain", text, timeout=60) == text


def test_rpc_bug_02_a_message_over_the_limit_is_refused_and_answered(
    serve: Serve, address: str
) -> None:
    serve(limits=rpc.Limits(message_bytes=1000))
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_echoPlain", b'["' + b"x" * 2000 + b'"]'))
        (line,) = read_lines(connection, 1)
        assert b"-32700" in line
        assert connection.read(100) == b""


@pytest.mark.skipif(sys.platform == "win32", reason="Wine takes a minute for it")
def test_rpc_bug_02_300_megabytes_are_refused_within_the_limits_memory(
    serve: Serve, address: str
) -> None:
    serve(limits=rpc.Limits(message_bytes=1_000_000))
    block = b"x" * 1_000_000
    with npipe.connect(address) as connection:
        tracemalloc.start()
        try:
            connection.write(b'{"x":"')
            with pytest.raises(BrokenPipeError):
                for _ in range(300):
                    connection.write(block)
            assert tracemalloc.get_traced_memory()[1] < 8_000_000
        finally:
            tracemalloc.stop()


def test_what_came_before_a_message_over_the_limit_is_answered(serve: Serve, address: str) -> None:
    serve(limits=rpc.Limits(message_bytes=1000))
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_noArgsRets") + b'{"' + b"x" * 2000)
        first, second = read_lines(connection, 2)
        assert b'"id":1,"result"' in first
        assert b"-32700" in second
        assert connection.read(100) == b""


def test_rpc_bug_20_a_message_read_costs_no_buffer_of_a_mebibyte(
    serve: Serve, address: str
) -> None:
    serve()
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_noArgsRets"))
        read_lines(connection, 1)
        tracemalloc.start()
        try:
            for id in range(20):
                connection.write(call(id, b"test_noArgsRets"))
                assert b"result" in connection.read(1000)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 300_000  # bytes


def test_rpc_bug_06_and_07_time_passes_without_a_loss(serve: Serve, address: str) -> None:
    # The seed's 15 s ran from the start of a read over the execution to the end of the write.
    # Here times are per thing: a message's, a write's. The call takes longer than both.
    serve(limits=rpc.Limits(message_timeout=0.05, write_timeout=0.05))
    with rpc.connect(address) as client:
        assert client.call("test_noArgsRets") is None
        time.sleep(0.1)  # a real wait: longer than both
        assert client.call("test_repeat", "ab", 2) == "abab"


def test_rpc_bug_01_null_in_a_batch_kills_nobody(serve: Serve, address: str) -> None:
    serve()
    with npipe.connect(address) as connection:
        connection.write(b"[null]\n")
        assert b"-32600" in read_lines(connection, 1)[0]
    with rpc.connect(address) as client:
        assert client.call("test_noArgsRets") is None


def test_rpc_bug_22_a_crash_is_one_call_s(
    serve: Serve, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    serve()
    with rpc.connect(address) as client:
        with pytest.raises(rpc.InternalError) as caught:
            client.call("test_crash")
        assert "secret" not in str(caught.value)
        assert client.call("test_noArgsRets") is None
    assert "ZeroDivisionError: a secret" in caplog.text
    assert "connection 000001: test_crash failed" in caplog.text


def test_errors_are_shown_when_asked_for(serve: Serve, address: str) -> None:
    serve(show_errors=True, error_code=-32000)
    with rpc.connect(address) as client, pytest.raises(rpc.RPCError) as caught:
        client.call("test_crash")
    assert (caught.value.code, caught.value.message) == (-32000, "ZeroDivisionError: a secret")


def test_a_slow_call_holds_up_nothing(serve: Serve, service: Service, address: str) -> None:
    serve()
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_block"))
        assert service.entered.wait(60)
        connection.write(call(2, b"test_noArgsRets"))
        assert b'"id":2' in read_lines(connection, 1)[0]
        service.release.set()
        assert b'"id":1' in read_lines(connection, 1)[0]


def test_calls_behind_a_slow_one_in_the_same_write_are_answered(
    serve: Serve, service: Service, address: str
) -> None:
    serve()
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_block") + call(2, b"test_noArgsRets"))
        assert b'"id":2' in read_lines(connection, 1)[0]
        service.release.set()
        assert b'"id":1' in read_lines(connection, 1)[0]


def test_cancel_request_reaches_a_running_call(
    serve: Serve, service: Service, address: str
) -> None:
    serve()
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_block"))
        assert service.entered.wait(60)
        connection.write(b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}\n')
        assert b'"id":1' in read_lines(connection, 1)[0]
        assert service.cancelled.is_set()


def test_a_half_closed_connection_gets_its_replies(
    serve: Serve, service: Service, address: str
) -> None:
    server = serve(message_mode=True)  # on Windows only such a pipe can be half-closed
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_block") + call(2, b"test_noArgsRets"))
        assert service.entered.wait(60)
        connection.close_write()
        assert b'"id":2' in read_lines(connection, 1)[0]
        assert not service.cancelled.is_set()
        service.release.set()
        assert b'"id":1' in read_lines(connection, 1)[0]
        assert connection.read(10) == b""
    wait_until(lambda: server.stats()["connections"]["open"] == 0)


def test_fifty_clients_gone_in_mid_call_free_everything(
    serve: Serve, service: Service, address: str
) -> None:
    server = serve()
    descriptors = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    connections = [npipe.connect(address) for _ in range(50)]
    for connection in connections:
        connection.write(call(1, b"test_block"))
    wait_until(lambda: server.stats()["calls"] == 50)
    assert server.stats()["connections"]["open"] == 50
    for connection in connections:
        connection.close()
    wait_until(lambda: server.stats()["connections"]["open"] == 0)
    wait_until(lambda: service.running == 0)
    if descriptors:
        wait_until(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    wait_until(lambda: not any(t.name.endswith("-call") for t in threading.enumerate()))
    assert service.cancelled.is_set()


KILLED = """
import os, sys
import npipe
connection = npipe.connect(sys.argv[1])
connection.write(b'{"jsonrpc":"2.0","id":1,"method":"test_echoPl')
os._exit(9)
"""


def test_a_client_killed_in_mid_message_leaves_no_trace(serve: Serve, address: str) -> None:
    server = serve()
    command = [sys.executable, "-c", KILLED, address]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.run(command, check=False, timeout=60, env=environment) for _ in range(3)
    ]
    assert [p.returncode for p in processes] == [9, 9, 9]
    for _ in range(100):
        connection = npipe.connect(address)
        connection.write(b'{"jsonrpc":"2.0","id":1,"method":"test_echoPl')
        connection.close()
    with rpc.connect(address) as client:
        assert client.call("test_echoPlain", 1) == 1
    wait_until(lambda: server.stats()["connections"] == {"open": 0, "total": 104})


def test_a_slow_reader_is_dropped_and_never_sees_a_broken_stream(
    serve: Serve, address: str
) -> None:
    server = serve(limits=rpc.Limits(write_timeout=0.2))
    reply = b'{"jsonrpc":"2.0","id":%d,"result":"%b"}'
    text = b"x" * 500_000
    with npipe.connect(address) as connection:
        for id in range(1, 5):
            connection.write(call(id, b"test_repeat", b'["x",500000]'))
        wait_until(lambda: server.stats()["connections"] == {"open": 0, "total": 1})
        data = b""
        try:
            while more := connection.read(1 << 20):
                data += more
        except ConnectionResetError:
            pass  # it may be told what it has not read
    whole = b"\n".join(reply % (id, text) for id in range(1, 5))
    assert data or sys.platform == "win32"  # there a write that is cut takes back all its bytes
    assert whole.startswith(data.removesuffix(b"\n"))


def test_partial_messages_have_a_time_limit(
    serve: Serve, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "npipe.rpc")
    server = serve(limits=rpc.Limits(message_timeout=0.05))
    with npipe.connect(address) as connection:
        connection.write(b'{"jsonrpc":')
        assert connection.read(10) == b""
    wait_until(lambda: server.stats()["connections"]["open"] == 0)
    assert "connection 000001 closed (no complete message in time)" in caplog.text


def test_each_message_of_a_stream_that_never_pauses_has_its_time(
    serve_api: ServeAPI, address: str
) -> None:
    serve_api(make_api(), limits=rpc.Limits(message_timeout=0.5))
    message = b'{"jsonrpc":"2.0","method":"test_noArgsRets"}\n'
    with npipe.connect(address) as connection:
        connection.write(message[:20])
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            connection.write(message[20:] + message[:20])  # always in the midst of one
            time.sleep(0.01)
        connection.write(message[20:] + call(1, b"test_noArgsRets"))
        assert json.loads(read_lines(connection, 1)[0]) == NOTHING


NOTHING = {"jsonrpc": "2.0", "id": 1, "result": None}


def test_a_message_has_its_time_from_when_it_can_be_read(serve_api: ServeAPI, address: str) -> None:
    serve_api(make_api(), limits=rpc.Limits(message_timeout=0.5))
    last = call(1, b"test_noArgsRets")
    with npipe.connect(address) as connection:
        connection.write(call(2, b"test_repeat", b'["x",3000000]') + last[:20])
        data = connection.read(1)  # so these have been read
        connection.write(last[20:])
        end = time.monotonic() + 1.5
        while data.count(b"\n") < 2:
            if time.monotonic() < end:
                time.sleep(0.05)
            more = connection.read(65536)
            assert more, "the server closed"
            data += more
        assert json.loads(data.splitlines()[1]) == NOTHING


def test_an_inline_call_longer_than_the_idle_time_is_not_idle(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who looks for a message without sleeping went by the deadline of the read before.
    napped = threading.Event()

    def read(reads: SpinReader, connection: npipe.Connection, size: int) -> bytes | None:
        return connection.poll_read(size, 0) if napped.is_set() else None

    monkeypatch.setattr(SpinReader, "read", read)

    class Naps:
        @rpc.method(inline=True)
        def nap(self, seconds: float) -> None:
            time.sleep(seconds)
            napped.set()

    api = rpc.API()
    api.register("test", Naps())
    with rpc.Server(api, limits=rpc.Limits(idle_timeout=0.3)) as server:
        server.serve(address)
        with npipe.connect(address) as connection:
            for seconds in (b"[0.6]", b"[0]"):
                connection.write(call(1, b"test_nap", seconds))
                assert json.loads(read_lines(connection, 1)[0]) == NOTHING


def test_idle_connections_are_closed_when_asked(
    serve: Serve, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "npipe.rpc")
    server = serve(limits=rpc.Limits(idle_timeout=0.05))
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_noArgsRets"))
        read_lines(connection, 1)
        assert connection.read(10) == b""
    wait_until(lambda: server.stats()["connections"]["open"] == 0)
    assert "closed (idle for too long)" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe that is closed is found out late")
def test_whitespace_is_no_message(serve_api: ServeAPI, address: str) -> None:
    serve_api(make_api(), limits=rpc.Limits(idle_timeout=0.5))
    with npipe.connect(address) as connection:
        deadline = time.monotonic() + 60
        with pytest.raises(BrokenPipeError):
            while time.monotonic() < deadline:
                connection.write(b"\n")
                time.sleep(0.05)  # it is this that must not keep it open


def test_a_call_in_flight_is_not_idle(serve: Serve, service: Service, address: str) -> None:
    serve(limits=rpc.Limits(idle_timeout=0.05))
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_block"))
        assert service.entered.wait(60)
        time.sleep(0.2)  # a real wait: longer than the idle time
        service.release.set()
        assert b"released" in read_lines(connection, 1)[0]


def test_the_idle_time_begins_anew_when_a_call_is_answered(
    serve_api: ServeAPI, service: Service, address: str
) -> None:
    serve_api(make_api(service), limits=rpc.Limits(idle_timeout=2.0))
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_block"))
        assert service.entered.wait(60)
        time.sleep(1.4)  # a real wait, as is the next: each is shorter than the idle time
        service.release.set()
        assert b"released" in read_lines(connection, 1)[0]
        time.sleep(1.2)  # 2.6 s since it was last read from
        connection.write(call(2, b"test_noArgsRets"))
        assert b'"id":2' in read_lines(connection, 1)[0]


def test_connections_are_limited(serve: Serve, address: str) -> None:
    server = serve(limits=rpc.Limits(connections=2))
    with rpc.connect(address) as first, rpc.connect(address) as second:
        first.call("test_noArgsRets")
        second.call("test_noArgsRets")
        with npipe.connect(address) as third:
            assert third.read(10) == b""
    wait_until(lambda: server.stats()["connections"]["open"] == 0)
    with rpc.connect(address) as fourth:
        fourth.call("test_noArgsRets")


def test_more_calls_than_may_be_in_flight_wait_their_turn(
    serve: Serve, service: Service, address: str
) -> None:
    server = serve(limits=rpc.Limits(calls=4))
    with npipe.connect(address) as connection:
        connection.write(b"".join(call(id, b"test_block") for id in range(50)))
        wait_until(lambda: service.running == 4)
        service.release.set()
        assert len(read_lines(connection, 50)) == 50
    assert service.most_running == 4
    assert server.stats()["calls"] == 50


def test_calls_back_are_answered_although_as_many_calls_run_as_may(
    serve: Serve, address: str
) -> None:
    serve(limits=rpc.Limits(calls=2))
    home = rpc.API()
    home.register("home", {"give": rpc.method(inline=True)(lambda: 7)})
    with rpc.connect(address, api=home) as client:
        replies: list[object] = []

        def work() -> None:
            replies.append(client.call("test_callMeBack", "home_give", [], timeout=60))

        threads = [threading.Thread(target=work) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert replies == [7] * 50


def test_concurrency_is_kept_over_all_connections(
    serve: Serve, service: Service, address: str
) -> None:
    serve()
    with npipe.connect(address) as one, npipe.connect(address) as other:
        for connection in (one, other):
            connection.write(b"".join(call(id, b"test_twoAtATime") for id in range(5)))
        wait_until(lambda: service.running == 2)
        service.release.set()
        for connection in (one, other):
            assert len(read_lines(connection, 5)) == 5
    assert service.most_running == 2


def test_rpc_bug_15_stop_closes_everything_and_the_address_is_free(
    serve: Serve, address: str
) -> None:
    server = serve()
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_noArgsRets"))
        read_lines(connection, 1)
        server.stop()
        assert connection.read(10) == b""
    server.stop()
    with pytest.raises(ClosedError):
        server.serve(address)
    with pytest.raises((FileNotFoundError, ConnectionRefusedError)):
        npipe.connect(address)
    serve()
    with rpc.connect(address) as client:
        assert client.call("test_noArgsRets") is None


@pytest.mark.parametrize("on_loop", [True, False])
def test_a_client_accepted_while_the_server_stops_is_disconnected(
    serve: Serve, address: str, monkeypatch: pytest.MonkeyPatch, on_loop: bool
) -> None:
    server = serve()
    with npipe.listen(f"{address}2") as listener, npipe.connect(f"{address}2") as client:
        theirs = listener.accept(60)
        end = server._runtime.stop

        def serve_and_end() -> None:
            server.serve_connection(theirs)
            end()

        monkeypatch.setattr(server._runtime, "stop", serve_and_end)
        if not on_loop:
            monkeypatch.setattr(server._runtime, "attach", lambda connection: False)
        server.stop()
        client.set_read_deadline(time.monotonic() + 10)
        assert client.read(1) == b""


def test_a_stop_after_an_interrupted_one_closes_what_is_left(
    serve: Serve, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    server.serve(f"{address}2")
    first, second = server._listeners
    close = first.close

    def interrupted() -> None:
        monkeypatch.setattr(first, "close", close)
        raise KeyboardInterrupt

    monkeypatch.setattr(first, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        server.stop()
    server.stop()
    for listener in (first, second):
        with pytest.raises(ClosedError):
            listener.accept(60)
    assert server.addresses == []


def test_stop_drains(serve: Serve, service: Service, address: str) -> None:
    server = serve()
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_block"))
        assert service.entered.wait(60)
        stopping = threading.Thread(target=server.stop, kwargs={"drain": 10})
        stopping.start()
        service.release.set()
        assert b"released" in read_lines(connection, 1)[0]
        stopping.join(60)
        assert connection.read(10) == b""


def test_stop_cancels_what_does_not_end(serve: Serve, service: Service, address: str) -> None:
    server = serve()
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_block"))
        assert service.entered.wait(60)
        server.stop(drain=0.05)
        assert service.cancelled.wait(60)


def test_rpc_bug_15_accept_errors_back_off(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import npipe.rpc.threads.server as module

    class Failing:
        address = "nowhere"
        tries: list[float] = []  # noqa: RUF012
        closed = threading.Event()

        def accept(self, timeout: float | None) -> npipe.Connection:
            self.tries.append(time.monotonic())
            if len(self.tries) == 5:
                self.closed.set()
                raise ClosedError("listener")
            raise OSError("no more descriptors")

        def close(self) -> None:
            pass

    monkeypatch.setattr(module, "listen", lambda address, **options: Failing())
    server = rpc.Server(make_api())
    server.serve("anything")
    assert Failing.closed.wait(60)
    pauses = [b - a for a, b in zip(Failing.tries, Failing.tries[1:], strict=False)]
    assert pauses[0] >= 0.004
    assert pauses[3] >= 0.035
    assert caplog.text.count("accepting a client on nowhere failed") == 4
    server.stop()


def test_rpc_bug_21_connection_ids_count_up_in_the_log(
    serve: Serve, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "npipe.rpc")
    server = serve()
    for _ in range(3):
        with rpc.connect(address) as client:
            client.call("test_noArgsRets")
    wait_until(lambda: server.stats()["connections"]["open"] == 0)
    for id in (1, 2, 3):
        assert f"connection {id:06d} opened" in caplog.text
        assert f"connection {id:06d} closed (the peer closed the connection)" in caplog.text
    assert "secret" not in caplog.text


def test_rpc_bug_21_a_live_server_is_not_replaced(serve: Serve, address: str) -> None:
    serve()
    second = rpc.Server(make_api())
    with pytest.raises(OSError):
        second.serve(address)
    with rpc.connect(address) as client:
        assert client.call("test_noArgsRets") is None


def test_middleware_surrounds_each_call(serve: Serve, address: str) -> None:
    seen: list[str] = []

    def outer(context: rpc.Context, proceed: Callable[[], object]) -> object:
        seen.append(f"outer {context.method} {context.connection_id}")
        return proceed()

    def inner(context: rpc.Context, proceed: Callable[[], object]) -> object:
        seen.append("inner")
        if context.method == "test_crash":
            raise rpc.RPCError("not today", code=3)
        return [proceed()]

    serve(middleware=[outer, inner])
    with rpc.connect(address) as client:
        assert client.call("test_echoPlain", 5) == [5]
        with pytest.raises(rpc.RPCError, match="not today"):
            client.call("test_crash")
    assert seen == ["outer test_echoPlain 1", "inner", "outer test_crash 1", "inner"]


def test_stats_count(serve: Serve, address: str) -> None:
    server = serve()
    with rpc.connect(address) as client:
        client.call("test_noArgsRets")
        client.call("subtract", 1, 1)  # inline
        client.batch([("test_noArgsRets", []), ("nothing", [])])
        wait_until(lambda: server.stats()["bytes_out"] > 100)  # counted after they are written
        stats = server.stats()
    assert stats["connections"] == {"open": 1, "total": 1}
    assert (stats["calls"], stats["errors"]) == (4, 1)
    assert stats["methods"]["subtract"]["calls"] == 1
    assert stats["methods"]["test_noArgsRets"]["calls"] == 2
    assert stats["bytes_in"] > 100


def test_two_addresses_are_served(serve: Serve, address: str) -> None:
    server = serve()
    server.serve(address + "2")
    assert len(server.addresses) == 2
    with rpc.connect(address) as one, rpc.connect(address + "2") as two:
        assert one.call("test_echoPlain", 1) + two.call("test_echoPlain", 2) == 3


def test_a_signal_handler_may_stop_the_server_at_any_line_of_serve_forever(serve: Serve) -> None:
    for number in itertools.count(1):
        server, fired = serve(), threading.Event()
        left = [number]

        def handle(
            frame: FrameType,
            event: str,
            _: object,
            server: rpc.Server = server,
            fired: threading.Event = fired,
            left: list[int] = left,
        ) -> Any:
            if event == "line" and frame.f_code.co_name in {"serve_forever", "wait"}:
                left[0] -= 1
                if left[0] == 0:
                    sys.settrace(None)
                    server.stop()
                    fired.set()
            return handle

        def run(server: rpc.Server = server, handle: Callable[..., Any] = handle) -> None:
            sys.settrace(handle)
            server.serve_forever()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        if reached := fired.wait(1) or left[0] <= 0:
            thread.join(10)
        else:  # it waits: there are no more lines
            server.stop()
            thread.join(10)
        assert not thread.is_alive(), number
        if not reached:
            break
    assert number > 3


def test_serve_forever_ends_with_stop(serve: Serve) -> None:
    server = serve()
    waiting = threading.Thread(target=server.serve_forever)
    waiting.start()
    server.stop()
    waiting.join(60)
    assert not waiting.is_alive()


def test_many_connections_with_many_calls_lose_and_cross_nothing(
    serve: Serve, address: str
) -> None:
    serve()
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            with rpc.connect(address) as client:
                for i in range(20):
                    value = f"{number}-{i}"
                    if client.call("test_echoPlain", value, timeout=60) != value:
                        wrong.append(value)
                    batch = [("test_echoPlain", [value]), ("test_repeat", [value, 2])]
                    if client.batch(batch, timeout=60) != [value, value * 2]:
                        wrong.append(value)
        except Exception as error:
            wrong.append(error)

    # 1000 on a machine of your own: NPIPE_TEST_CONNECTIONS=1000
    connections = int(os.environ.get("NPIPE_TEST_CONNECTIONS", "40"))
    threads = [threading.Thread(target=work, args=(n,)) for n in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert wrong == []


def test_without_threads_serve_fails_and_leaves_nothing(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with rpc.Server(make_api()) as server:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="new thread"):
                server.serve(address)
            assert server.addresses == []
            ours, theirs = npipe.testing.memory_pair()
            with pytest.raises(RuntimeError, match="new thread"):
                server.serve_connection(theirs)
            assert server.stats()["connections"]["open"] == 0
            assert ours.read(1) == b""
            ours.close()
        server.serve(address)  # later, when there are threads again
        with npipe.connect(address) as connection:
            connection.write(call(1, b"test_noArgsRets"))
            assert len(read_lines(connection, 1)) == 1


@pytest.mark.parametrize(
    "drain", ["5", True, -1, math.nan, math.inf, pytest.param(10**400, id="huge")]
)
def test_a_wrong_drain_stops_nothing(serve: Serve, address: str, drain: Any) -> None:
    server = serve()
    with pytest.raises((TypeError, ValueError), match="drain"):
        server.stop(drain=drain)
    with npipe.connect(address) as connection:
        connection.write(call(1, b"test_noArgsRets"))
        assert len(read_lines(connection, 1)) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there a client needs an accept that blocks")
def test_the_loop_accepts_clients_that_come_together(address: str) -> None:
    threads: list[str] = []

    class Watched(rpc.Server):
        def serve_connection(self, connection: npipe.Connection) -> None:
            threads.append(threading.current_thread().name)
            super().serve_connection(connection)

    count = 2 * BURST + 10
    listener = npipe.listen(address)
    with contextlib.ExitStack() as stack, Watched(make_api(Service())) as server:
        clients = [stack.enter_context(npipe.connect(address)) for _ in range(count)]
        server.serve_listener(listener)
        for client in clients:
            client.write(call(1, b"test_echoPlain", b"[1]"))
        for client in clients:
            assert b'"result":1' in read_lines(client, 1)[0]
        assert len(threads) == count
        assert max(len(list(run)) for _, run in itertools.groupby(threads)) == BURST
        late = stack.enter_context(npipe.connect(address))
        late.write(call(1, b"test_echoPlain", b"[1]"))
        assert read_lines(late, 1)
        assert "accept" in threads[-1]

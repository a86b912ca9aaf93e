"""The client with threads: against our server, and against peers that answer as they like."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

import npipe
from npipe import rpc
from npipe.errors import ClosedError, ConnectionLost
from npipe.transport.memory import memory_pair
from rpc.service import Service, make_api


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(service: Service, address: str) -> Iterator[rpc.Server]:
    with rpc.Server(make_api(service)) as server:
        server.serve(address)
        yield server
        service.release.set()


@pytest.fixture
def client(server: rpc.Server, address: str) -> Iterator[rpc.Client]:
    with rpc.connect(address, timeout=60) as client:
        yield client


class Peer:
    """The other end of a client, played by the test."""

    def __init__(self) -> None:
        ours, self.connection = memory_pair()
        self.client = rpc.connect(ours, timeout=60)
        self._rest = b""

    def read(self) -> Any:
        while b"\n" not in self._rest:
            data = self.connection.read(65536)
            assert data
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def write(self, *messages: Any) -> None:
        self.connection.write(b"".join(json.dumps(m).encode() + b"\n" for m in messages))

    def in_thread(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Run what calls the client; return a function that waits for its outcome."""
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append(function())
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()

        def join() -> Any:
            thread.join(60)
            return outcome[0]

        return join


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.client.close()
    peer.connection.close()


def reply(id: Any, result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": result}


def test_call_by_position_and_by_name(client: rpc.Client) -> None:
    assert client.call("subtract", 42, 23) == 19
    assert client.call("subtract", named={"subtrahend": 23, "minuend": 42}) == 19
    with pytest.raises(TypeError):
        client.call("subtract", 1, named={"minuend": 2})


def test_rpc_bug_08_errors_are_raised(client: rpc.Client) -> None:
    with pytest.raises(rpc.RPCError) as caught:
        client.call("test_returnError")
    error = caught.value
    assert (error.code, error.message, error.data) == (444, "testError", "testError data")
    with pytest.raises(rpc.MethodNotFound):
        client.call("nothing")
    with pytest.raises(rpc.InvalidParams):
        client.call("subtract", "x", 1)
    with pytest.raises(TypeError):  # which InvalidParams is, too
        client.call("subtract", "x", 1)


def test_results_have_the_type_asked_for(client: rpc.Client) -> None:
    class Echo(msgspec.Struct):
        String: str

    assert client.call("test_echo", "x", 1, result_type=Echo) == Echo("x")
    assert bytes(client.call("test_echoPlain", [1, 2], result_type=msgspec.Raw)) == b"[1,2]"
    with pytest.raises(rpc.ProtocolError):
        client.call("test_echoPlain", "x", result_type=int)


def test_rpc_bug_17_numbers_are_exact(client: rpc.Client) -> None:
    for number in (9007199254740993, 10**40, -(2**63), 1e21):
        assert client.call("test_echoPlain", number) == number


def test_rpc_bug_09_replies_matched_by_id(peer: Peer) -> None:
    one = peer.in_thread(lambda: peer.client.call("one"))
    first = peer.read()
    two = peer.in_thread(lambda: peer.client.call("two"))
    second = peer.read()
    peer.write(reply(second["id"], "second"), reply(first["id"], "first"))
    assert (one(), two()) == ("first", "second")


def test_rpc_bug_09_late_doubled_and_made_up_replies_are_dropped(peer: Peer) -> None:
    with pytest.raises(TimeoutError):
        peer.client.call("late", timeout=0.01)
    late = peer.read()
    cancel = peer.read()
    assert (cancel["method"], cancel["params"]) == ("$/cancelRequest", {"id": late["id"]})
    answer = peer.in_thread(lambda: peer.client.call("next"))
    request = peer.read()
    peer.write(reply(late["id"], "late"), reply(99, 1), reply(request["id"], "right"))
    peer.write(reply(request["id"], "doubled"))
    assert answer() == "right"
    answer = peer.in_thread(lambda: peer.client.call("after"))
    peer.write(reply(peer.read()["id"], "right"))
    assert answer() == "right"


def test_rpc_bug_10_and_23_a_batch_comes_back_in_order(client: rpc.Client, peer: Peer) -> None:
    calls = [("subtract", [3, 1]), ("nothing", []), ("subtract", {"minuend": 9, "subtrahend": 1})]
    two, error, eight = client.batch(calls)
    assert (two, eight) == (2, 8)
    assert isinstance(error, rpc.MethodNotFound)
    assert client.batch([]) == []
    answer = peer.in_thread(lambda: peer.client.batch([("a", []), ("b", []), ("c", [])]))
    a, b, c = (entry["id"] for entry in peer.read())
    peer.write([reply(c, "c"), reply(a, "a"), reply(b, "b")])
    assert answer() == ["a", "b", "c"]


def test_a_batch_s_reply_may_lack_some_and_hold_too_many(peer: Peer) -> None:
    answer = peer.in_thread(lambda: peer.client.batch([("a", []), ("b", [])]))
    a, _ = (entry["id"] for entry in peer.read())
    peer.write([reply(a, "a"), reply(98, 1), reply(99, 1)])
    first, second = answer()
    assert first == "a"
    assert isinstance(second, rpc.ProtocolError)


def test_a_batch_refused_as_a_whole(peer: Peer) -> None:
    answer = peer.in_thread(lambda: peer.client.batch([("a", []), ("b", [])]))
    peer.read()
    peer.write({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "too large"}})
    assert [type(each) for each in answer()] == [rpc.InvalidRequest] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": 1, "result": 1, "error": {"code": 1, "message": "x"}},
        {"jsonrpc": "2.0", "id": 1, "error": 7},
        {"jsonrpc": "2.0", "id": 1, "error": {"code": "x"}},
    ],
)
def test_replies_that_are_none(peer: Peer, wrong: dict[str, Any]) -> None:
    answer = peer.in_thread(lambda: peer.client.call("x", timeout=0.3))
    peer.read()
    peer.write(wrong)
    assert isinstance(answer(), (rpc.ProtocolError, TimeoutError))


def test_json_rpc_1_replies_are_understood(peer: Peer) -> None:
    answer = peer.in_thread(lambda: peer.client.call("x"))
    peer.write({"id": peer.read()["id"], "result": 5, "error": None})
    assert answer() == 5


def test_many_threads_share_a_client(client: rpc.Client) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        wrong.extend(i for i in range(50) if client.call("subtract", number, i) != number - i)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_a_timeout_cancels_the_call_at_the_server(client: rpc.Client, service: Service) -> None:
    with pytest.raises(TimeoutError):
        client.call("test_block", timeout=0.05)
    assert service.cancelled.wait(60)


def test_close_ends_calls_in_flight(client: rpc.Client, service: Service) -> None:
    outcome: list[Exception] = []

    def work() -> None:
        try:
            client.call("test_block")
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert service.entered.wait(60)
    client.close()
    thread.join(60)
    assert isinstance(outcome[0], ClosedError)
    with pytest.raises(ClosedError):
        client.call("test_noArgsRets")
    client.close()


def test_the_server_s_end_is_connection_lost(peer: Peer) -> None:
    answer = peer.in_thread(lambda: peer.client.call("x"))
    peer.read()
    peer.connection.close()
    error = answer()
    assert isinstance(error, ConnectionLost)
    assert error.maybe_executed
    with pytest.raises(ConnectionLost) as caught:
        peer.client.call("y")
    assert not caught.value.maybe_executed


class Dialled:
    """A client that reconnects, and the ends of its connections."""

    def __init__(self) -> None:
        self.ends: list[npipe.Connection] = []
        self.ours: list[npipe.Connection] = []
        self.client = rpc.Client(self._dial, timeout=60, reconnect=10.0)

    def _dial(self, timeout: float | None) -> npipe.Connection:
        again = bool(self.ends)
        ours, theirs = memory_pair()
        self.ends.append(theirs)
        self.ours.append(ours)
        if again:
            rpc.Server(make_api()).serve_connection(theirs)
        return ours


def test_rpc_bug_11_reconnecting_closes_the_old_and_sends_what_is_safe() -> None:
    dialled = Dialled()
    dialled.ends[0].close()
    assert dialled.client.call("subtract", 3, 1) == 2  # never written to the old one
    assert len(dialled.ends) == 2
    assert dialled.ours[0].closed
    dialled.client.close()
    with pytest.raises(ClosedError):
        dialled.client.call("subtract", 3, 1)


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_call_that_may_have_happened_is_sent_again_only_if_marked(idempotent: bool) -> None:
    dialled = Dialled()
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(dialled.client.call("subtract", 3, 1, idempotent=idempotent))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert b"subtract" in dialled.ends[0].read(1000)
    dialled.ends[0].close()
    thread.join(60)
    if idempotent:
        assert outcome == [2]
    else:
        assert isinstance(outcome[0], ConnectionLost)
        assert outcome[0].maybe_executed
    dialled.client.close()


def test_a_server_that_hangs_up_on_everybody_is_given_up() -> None:
    dials: list[int] = []

    def dial(timeout: float | None) -> npipe.Connection:
        ours, theirs = memory_pair()
        theirs.close()
        dials.append(1)
        return ours

    client = rpc.Client(dial, timeout=60, reconnect=0.1)
    with pytest.raises(ConnectionLost):
        client.call("x")
    assert 2 <= len(dials) < 20
    client.close()


def test_reconnecting_waits_for_the_server(address: str) -> None:
    with rpc.Server(make_api()) as first:
        first.serve(address)
        client = rpc.connect(address, reconnect=10, timeout=60)
        assert client.call("subtract", 3, 1) == 2
    second = rpc.Server(make_api())
    timer = threading.Timer(0.1, second.serve, (address,))
    timer.start()
    assert client.call("subtract", 3, 1, idempotent=True) == 2  # may meet the old one's last breath
    client.close()
    second.stop()


def test_subscriptions(client: rpc.Client, service: Service) -> None:
    assert list(client.subscribe("test", "counter", 5)) == [0, 1, 2, 3, 4]
    failing = client.subscribe("test", "failing")
    assert failing.next(10) == 1
    with pytest.raises(rpc.RPCError, match="no more"):
        failing.next(10)
    with pytest.raises(rpc.MethodNotFound):
        client.subscribe("test", "nothing")
    with client.subscribe("test", "endless") as endless:
        assert [endless.next(10) for _ in range(3)] == [0, 1, 2]
        assert endless.id.startswith("0x")
    assert service.cancelled.wait(60)
    with pytest.raises(ClosedError):
        endless.next()
    assert client.call("subtract", 3, 1) == 2


def test_a_subscription_ends_with_its_connection(client: rpc.Client, server: rpc.Server) -> None:
    endless = client.subscribe("test", "endless")
    endless.next(10)
    server.stop()
    with pytest.raises(ConnectionLost):
        for _ in endless:
            pass


def test_items_that_no_one_takes_end_the_subscription(client: rpc.Client, service: Service) -> None:
    endless = client.subscribe("test", "endless", queue_size=10)
    assert service.cancelled.wait(60)  # unsubscribed
    assert [endless.next(10) for _ in range(10)] == list(range(10))
    with pytest.raises(rpc.RPCError, match="more than 10 items"):
        endless.next(10)


def test_a_renewed_subscription_marks_the_gap(address: str) -> None:
    first = rpc.Server(make_api())
    first.serve(address)
    client = rpc.connect(address, reconnect=10, timeout=60)
    items = client.subscribe("test", "endless", renew=True)
    assert items.next(10) == 0
    first.stop()
    second = rpc.Server(make_api())
    second.serve(address)
    while (item := items.next(10)) is not rpc.GAP:
        assert isinstance(item, int)
    assert items.next(10) == 0
    items.close()
    client.close()
    second.stop()


class Reporting:
    def work(self, context: rpc.Context, steps: int) -> str:
        for step in range(steps):
            context.progress({"step": step})
        return "done"


def test_progress_is_reported() -> None:
    api = rpc.API()
    api.register("job", Reporting())
    seen: list[Any] = []
    with rpc.Server(api) as server, rpc.connect(server) as client:
        assert client.call("job_work", 3, on_progress=seen.append) == "done"
    assert seen == [{"step": 0}, {"step": 1}, {"step": 2}]


class Home:
    def name(self) -> str:
        return "client"

    async def later(self) -> str:
        return "async client"


def test_the_server_calls_back(server: rpc.Server, address: str) -> None:
    api = rpc.API()
    api.register("home", Home())
    with rpc.connect(address, api=api, timeout=60) as client:
        assert client.call("test_callMeBack", "home_name", []) == "client"
        assert client.call("test_callMeBack", "home_later", []) == "async client"
        with pytest.raises(rpc.MethodNotFound):
            client.call("test_callMeBack", "home_nothing", [])


def test_async_functions_on_the_server_with_threads() -> None:
    import asyncio

    class Async:
        def __init__(self) -> None:
            self.cancelled = threading.Event()
            self.entered = threading.Event()

        async def double(self, number: int) -> int:
            await asyncio.sleep(0)
            return 2 * number

        async def endless(self) -> None:
            self.entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

        @rpc.subscription
        async def count(self, to: int) -> Any:
            for i in range(to):
                yield i

    target = Async()
    api = rpc.API()
    api.register("a", target)
    with rpc.Server(api) as server, rpc.connect(server, timeout=60) as client:
        assert client.call("a_double", 4) == 8
        assert list(client.subscribe("a", "count", 3)) == [0, 1, 2]
        with pytest.raises(TimeoutError):
            client.call("a_endless", timeout=0.05)
        assert target.cancelled.wait(60)


def test_modules(client: rpc.Client, peer: Peer) -> None:
    assert client.modules() == {"rpc": "1.0", "test": "1.0"}
    answer = peer.in_thread(peer.client.modules)  # a server of the seed's time
    request = peer.read()
    error = {"code": -32601, "message": "no"}
    peer.write({"jsonrpc": "2.0", "id": request["id"], "error": error})
    request = peer.read()
    assert request["method"] == "modules"
    peer.write(reply(request["id"], {"eth": "1.0"}))
    assert answer() == {"eth": "1.0"}


SLOW = """
import threading
from rpc.service import Service
service = Service()
threading.Timer(0.3, service.release.set).start()
"""
CHILD = """
import sys
sys.path[:0] = [p for p in {path!r} if p not in sys.path]
from npipe import rpc
from rpc.service import make_api
server = rpc.Server(make_api())
server.serve_stdio()
"""


def test_the_end_of_standard_input_leaves_no_call_without_its_answer() -> None:
    child = CHILD.format(path=sys.path).replace("make_api()", "make_api(service)")
    child = child.replace("server =", SLOW + "server =")
    calls = b"".join(
        b'{"jsonrpc":"2.0","id":%d,"method":"test_%b"}\n' % (n, method)
        for n, method in enumerate((b"block", b"noArgsRets"))
    )
    command = [sys.executable, "-c", child]
    done = subprocess.run(command, input=calls, capture_output=True, timeout=60, check=True)
    assert sorted(done.stdout.splitlines()) == [
        b'{"jsonrpc":"2.0","id":0,"result":"released"}',
        b'{"jsonrpc":"2.0","id":1,"result":null}',
    ]


def test_a_program_over_its_standard_input_and_output() -> None:
    command = [sys.executable, "-c", CHILD.format(path=sys.path)]
    with rpc.connect(command, timeout=60) as client:
        assert client.call("subtract", 42, 23) == 19
        assert client.batch([("subtract", [1, 1])]) == [0]


def test_rpc_bug_12_no_server_is_an_error_at_once(address: str) -> None:
    with pytest.raises(FileNotFoundError):
        rpc.connect(address)


@pytest.mark.parametrize("endpoint", ["rpc:localhost:8545", "http://x", ""])
def test_rpc_bug_18_endpoints_that_are_none(endpoint: str) -> None:
    with pytest.raises(ValueError):
        rpc.connect(endpoint)

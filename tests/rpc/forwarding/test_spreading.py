"""Which server gets what, and what a lost one costs. Sessions without a connection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from npipe.rpc import API, Limits
from npipe.rpc.forwarding.balancer import Balancer
from npipe.rpc.forwarding.spreading import Spreading
from npipe.rpc.forwarding.upstream import Upstream
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session

Message = dict[str, Any]


class Server:
    """One end of an upstream, as its server sees it: what arrived, in order."""

    def __init__(self, client: Client, upstream: Upstream) -> None:
        self.client = client
        self.upstream = upstream
        self.session: Session | None = None
        self.arrived: list[Message] = []

    def open(self) -> None:
        self.session = Session(Dispatcher(API()))
        self.client.spreading.opened(self.upstream, self.session)

    def read(self) -> list[Message]:
        """Take what the front has written; return what is new."""
        assert self.session is not None
        new = [json.loads(line) for line in self.session.take().splitlines()]
        self.arrived += new
        return new

    def send(self, message: Message) -> None:
        assert self.session is not None
        self.session.receive([json.dumps({"jsonrpc": "2.0", **message}).encode()])
        assert self.session.next_call() is None

    def lose(self) -> None:
        if self.session is not None:
            self.session.close("it died")
        self.client.spreading.lost(self.upstream, "it died")


class Client:
    """A client of the front, and all that was dialled for it."""

    def __init__(self, balancer: Balancer, limits: Limits | None = None) -> None:
        self.session = Session(Dispatcher(API()), limits=limits)
        self.servers: list[Server] = []
        self.spreading = Spreading(self.session, balancer, self._dial)

    def _dial(self, upstream: Upstream) -> None:
        upstream.close = lambda: None
        self.servers.append(Server(self, upstream))

    def send(self, method: str, *params: Any, id: Any = None) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": list(params)}
        text = json.dumps(message if id is None else {**message, "id": id})
        self.session.receive([text.encode()])
        assert self.session.next_call() is None

    def read(self) -> list[Message]:
        return [json.loads(line) for line in self.session.take().splitlines()]

    def at(self, name: str) -> Server:
        """Return the open way to a server."""
        (found,) = [each for each in self.servers if each.upstream.name == name]
        if found.session is None:
            found.open()
        return found


@pytest.fixture
def balancer() -> Balancer:
    return Balancer(lambda: ("a", "b"))


@pytest.fixture
def client(balancer: Balancer) -> Client:
    return Client(balancer)


def test_each_call_goes_to_the_least_busy_server(client: Client, balancer: Balancer) -> None:
    for id in range(1, 5):
        client.send("m", id=id)
    a, b = client.at("a"), client.at("b")
    assert [len(a.read()), len(b.read())] == [2, 2]
    a.send({"id": 1, "result": "x"})
    a.send({"id": 2, "result": "x"})
    client.send("m", id=5)
    assert (len(a.read()), len(b.read())) == (1, 0)
    assert [reply["result"] for reply in client.read()] == ["x", "x"]
    assert balancer.load == {"a": 1, "b": 2}


def test_the_load_is_that_of_all_clients(client: Client, balancer: Balancer) -> None:
    client.send("m", id=1)
    other = Client(balancer)
    other.send("m", id=1)
    assert [each.servers[0].upstream.name for each in (client, other)] == ["a", "b"]


def test_a_lost_server_costs_only_what_was_sent_there(client: Client, balancer: Balancer) -> None:
    client.send("m", 1, id=1)
    client.send("m", 2, id=2)
    a, b = client.at("a"), client.at("b")
    a.read()
    b.read()
    client.send("m", 3, id=3)  # queued for a, and not written
    assert balancer.load == {"a": 2, "b": 1}
    a.lose()
    (reply,) = client.read()
    assert (reply["id"], reply["error"]["code"]) == (1, -32000)
    assert reply["error"]["data"] == {"maybe_executed": True}
    assert [message["params"] for message in b.read()] == [[3]]
    assert balancer.load == {"a": 0, "b": 2}


def test_without_any_server_a_call_is_answered_at_once(client: Client) -> None:
    client.send("m", id=1)
    client.servers[0].lose()
    client.servers[1].lose()
    (reply,) = client.read()
    assert reply["error"]["data"] == {"maybe_executed": False}


def test_a_server_that_is_down_is_taken_last(client: Client, balancer: Balancer) -> None:
    balancer.mark_down("a")
    for id in range(3):
        client.send("m", id=id)
    assert [each.upstream.name for each in client.servers] == ["b"]
    balancer.mark_up("a")
    client.send("m", id=9)
    assert client.servers[-1].upstream.name == "a"


def test_one_that_does_not_read_gets_nothing(client: Client) -> None:
    client.send("m", id=1)
    client.send("m", id=2)
    a, b = client.at("a"), client.at("b")
    a.upstream.crowded = lambda: True
    assert not client.spreading.crowded
    for id in range(3, 9):
        client.send("m", id=id)
    assert (len(a.read()), len(b.read())) == (1, 7)
    b.upstream.crowded = lambda: True
    assert client.spreading.crowded


def test_a_cancellation_follows_its_call(client: Client) -> None:
    client.send("m", id="x")
    client.send("m", id="y")
    a, b = client.at("a"), client.at("b")
    a.read()
    (call,) = b.read()
    client.send("$/cancelRequest")  # no params that make sense
    client.session.receive([b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"y"}}'])
    client.session.next_call()
    assert a.read() == []
    (cancel,) = b.read()
    assert (cancel["method"], cancel["params"]) == ("$/cancelRequest", {"id": call["id"]})


def test_a_call_that_is_cancelled_before_it_is_sent_is_never_sent(client: Client) -> None:
    client.send("m", id=1)
    client.session.receive([b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}'])
    client.session.next_call()
    assert client.read()[0]["error"]["code"] == -32800
    assert client.at("a").read() == []


def subscribe(client: Client, id: int) -> tuple[Server, int]:
    """Subscribe, and let the server that got it call it 0x1."""
    client.send("eth_subscribe", "newHeads", id=id)
    for server in client.servers:
        at = client.at(str(server.upstream.name))
        for message in at.read():
            if message["method"] == "eth_subscribe":
                at.send({"id": message["id"], "result": "0x1"})
                return at, message["id"]
    raise AssertionError("nobody got it")


def push(server: Server, **what: Any) -> None:
    params = {"subscription": "0x1", **what}
    server.send({"method": "eth_subscription", "params": params})


def test_subscriptions_count_as_load_and_keep_their_ids_apart(
    client: Client, balancer: Balancer
) -> None:
    one, _ = subscribe(client, 1)
    other, _ = subscribe(client, 2)
    assert one is not other
    assert balancer.load == {"a": 1, "b": 1}
    first, second = (reply["result"] for reply in client.read())
    assert first == "0x1" != second
    push(one, result=10)
    push(other, result=20)
    got = {each["params"]["subscription"]: each["params"]["result"] for each in client.read()}
    assert got == {first: 10, second: 20}
    client.send("eth_unsubscribe", second, id=3)
    (unsubscribe,) = other.read()
    assert unsubscribe["params"] == ["0x1"]
    assert one.read() == []
    other.send({"id": unsubscribe["id"], "result": True})
    assert balancer.load == {"a": 1, "b": 0}


def test_a_subscription_ends_with_its_server_or_by_it(client: Client, balancer: Balancer) -> None:
    one, _ = subscribe(client, 1)
    other, _ = subscribe(client, 2)
    client.read()
    push(one, end=True)
    assert client.read()[0]["params"] == {"subscription": "0x1", "end": True}
    assert balancer.load == {"a": 0, "b": 1}
    other.lose()
    (lost,) = client.read()
    assert lost["method"] == "eth_subscription"
    assert lost["params"]["error"]["code"] == -32000
    assert balancer.load == {"a": 0, "b": 0}


def test_calls_of_a_server_reach_the_client_and_go_back(client: Client) -> None:
    client.send("m", id=1)
    a = client.at("a")
    a.read()
    a.send({"id": 7, "method": "user_answer", "params": ["?"]})
    (asked,) = client.read()
    assert asked["method"] == "user_answer"
    answer = {"jsonrpc": "2.0", "id": asked["id"], "result": 1}
    client.session.receive([json.dumps(answer).encode()])
    client.session.next_call()
    assert a.read() == [{"jsonrpc": "2.0", "id": 7, "result": 1}]


def test_no_more_calls_than_the_limit(balancer: Balancer) -> None:
    client = Client(balancer, Limits(calls=2))
    for id in range(3):
        client.send("m", id=id)
    (refused,) = client.read()
    assert refused["error"]["code"] == -32005


class Machine(RuleBasedStateMachine):
    """Whatever happens, a call is answered once, and nothing is executed twice."""

    def __init__(self) -> None:
        super().__init__()
        self.balancer = Balancer(lambda: ("a", "b", "c"))
        self.client = Client(self.balancer)
        self.calls: list[int] = []
        self.answers: dict[int, list[Message]] = {}
        self.lost: set[int] = set()  # of servers, by place
        self.open_ids: dict[tuple[int, int], Message] = {}  # at a server: not answered there

    def live(self) -> list[int]:
        return [at for at in range(len(self.client.servers)) if at not in self.lost]

    @rule()
    def call(self) -> None:
        number = len(self.calls)
        self.calls.append(number)
        self.client.send("m", number, id=number)

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def open_or_read(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(self.live()))
        server = self.client.servers[at]
        if server.session is None:
            server.open()
            return
        for message in server.read():
            if "id" in message:
                self.open_ids[at, message["id"]] = message

    @precondition(lambda self: self.open_ids)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        at, id = data.draw(st.sampled_from(sorted(self.open_ids)))
        message = self.open_ids.pop((at, id))
        self.client.servers[at].send({"id": id, "result": message["params"][0]})

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(self.live()))
        self.lost.add(at)
        self.client.servers[at].lose()
        self.open_ids = {key: each for key, each in self.open_ids.items() if key[0] != at}

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.calls:
            number = data.draw(st.sampled_from(self.calls))
            cancel = {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": number}}
            self.client.session.receive([json.dumps(cancel).encode()])
            self.client.session.next_call()

    @invariant()
    def each_call_is_answered_once_and_as_it_went(self) -> None:
        for message in self.client.read():
            self.answers.setdefault(message["id"], []).append(message)
        executed: dict[int, int] = {}
        for server in self.client.servers:
            for message in server.arrived:
                if message["method"] == "m":
                    number = message["params"][0]
                    executed[number] = executed.get(number, 0) + 1
        assert all(times == 1 for times in executed.values())
        for number, answers in self.answers.items():
            (answer,) = answers
            if "result" in answer:
                assert answer["result"] == number
            elif answer["error"]["code"] == -32000:
                assert answer["error"]["data"]["maybe_executed"] is (number in executed)

    @invariant()
    def the_load_is_what_waits(self) -> None:
        waiting = len(self.calls) - len(self.answers)
        assert sum(self.balancer.load.values()) == waiting == len(self.client.spreading)
        assert min(self.balancer.load.values(), default=0) >= 0

    def teardown(self) -> None:
        self.client.spreading.close()
        for at in self.live():
            self.lose_quietly(at)
        assert not any(self.balancer.load.values())

    def lose_quietly(self, at: int) -> None:
        self.client.servers[at].lose()


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestMachine = Machine.TestCase

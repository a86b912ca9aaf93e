"""Tests of npipe.rpc.session.outgoing_calls: batches, answered whole or in any other way."""

from __future__ import annotations

import json
from typing import Any

import pytest

from npipe.errors import ConnectionLost, ProtocolError, RPCError
from npipe.rpc import API
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session

OK = '{"jsonrpc":"2.0","id":%d,"result":%s}'


class Client:
    """A session that makes calls, and what became of them."""

    def __init__(self) -> None:
        self.session = Session(Dispatcher(API()))
        self.calls = self.session.outgoing_calls
        self.batches: list[list[Any]] = []
        self.singles: list[Any] = []

    def batch(self, size: int) -> Any:
        return self.calls.batch([("x", ())] * size, self.batches.append)

    def call(self) -> Any:
        return self.calls.call("x", b"", self.singles.append)

    def read(self, *replies: str) -> None:
        self.session.feed("".join(reply + "\n" for reply in replies).encode())
        assert self.session.next_call() is None

    def sent(self) -> list[Any]:
        return [json.loads(line) for line in self.session.take().splitlines()]


@pytest.fixture
def client() -> Client:
    return Client()


def ok(*ids: int) -> str:
    return "[" + ",".join(OK % (id, f'"{id}"') for id in ids) + "]"


def results(outcomes: list[Any]) -> list[Any]:
    return [o if isinstance(o, Exception) else json.loads(bytes(o)) for o in outcomes]


def test_a_batch_that_is_answered_whole_and_in_order(client: Client) -> None:
    client.batch(3)
    client.read(ok(1, 2, 3))
    assert results(client.batches[0]) == ["1", "2", "3"]
    assert (len(client.calls), client.calls.awaiting, client.calls.unmatched) == (0, False, 0)


def test_batches_and_calls_that_wait_at_the_same_time(client: Client) -> None:
    client.batch(2)
    client.call()
    client.batch(2)
    assert len(client.calls) == 3
    client.read(OK % (3, "true"))  # a single reply leaves the batches whole
    assert len(client.calls.batches) == 2
    client.read(ok(4, 5), ok(1, 2))
    assert [results(outcomes) for outcomes in client.batches] == [["4", "5"], ["1", "2"]]
    assert results(client.singles) == [True]


def test_a_reply_in_another_order(client: Client) -> None:
    client.batch(3)
    client.read(ok(3, 1, 2))
    assert results(client.batches[0]) == ["1", "2", "3"]


def test_a_reply_with_an_error_in_it(client: Client) -> None:
    client.batch(2)
    error = '{"jsonrpc":"2.0","id":2,"error":{"code":7,"message":"no"}}'
    client.read("[" + OK % (1, "1") + "," + error + "]")
    one, two = client.batches[0]
    assert json.loads(bytes(one)) == 1
    assert isinstance(two, RPCError)


def test_a_reply_that_lacks_some_and_the_rest_one_by_one(client: Client) -> None:
    client.batch(3)
    client.read(OK % (2, "2"))
    assert not client.batches
    client.read(ok(1))
    assert isinstance(client.batches[0][2], ProtocolError)
    assert results(client.batches[0][:2]) == ["1", 2]
    client.batch(2)
    client.read(OK % (4, "4"), OK % (5, "5"))
    assert results(client.batches[1]) == [4, 5]


@pytest.mark.parametrize(
    "reply",
    [
        '[{"jsonrpc":"2.0","id":"1","result":1}]',
        '[{"jsonrpc":"2.0","id":9,"result":1}]',
        '[{"jsonrpc":"2.0","id":1,"result":1,"method":"x"}]',
        "[]",
    ],
)
def test_what_is_no_reply_to_it_leaves_it_waiting_or_ends_it_in_an_error(
    client: Client, reply: str
) -> None:
    client.batch(1)
    client.read(reply)
    for outcomes in client.batches:
        assert all(isinstance(outcome, Exception) for outcome in outcomes)
    client.read(ok(1))
    assert len(client.batches) == 1
    assert len(client.calls) == 0


def test_a_reply_that_is_not_utf8_ends_its_call_in_an_error(client: Client) -> None:
    client.batch(1)
    client.sent()
    client.session.feed(b'[{"jsonrpc":"2.0","id":1,"result":"\xff"}]\n')
    assert client.session.next_call() is None
    ((outcome,),) = client.batches
    assert isinstance(outcome, ProtocolError)
    assert client.sent() == []


def test_an_error_without_an_id_ends_the_only_batch(client: Client) -> None:
    client.batch(2)
    client.read('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}')
    assert all(isinstance(outcome, RPCError) for outcome in client.batches[0])
    assert len(client.calls) == 0


def test_a_batch_that_is_given_up_cancels_each_call_once(client: Client) -> None:
    batch, other = client.batch(2), client.batch(2)
    client.sent()
    client.calls.cancel(batch)
    assert [message["params"]["id"] for message in client.sent()] == [1, 2]
    assert len(client.calls.batches) == 1
    client.read(ok(1, 2), ok(3, 4))
    assert len(client.batches) == 1
    assert client.calls.unmatched == 2
    client.calls.cancel(other)
    assert client.sent() == []


def test_a_batch_that_another_thread_splits_while_it_is_given_up(client: Client) -> None:
    # The other thread has taken it out of the one table and not put it into the other.
    batch = client.batch(2)
    client.sent()

    class Hooked(dict[int, Any]):
        def pop(self, key: int, default: Any = None) -> Any:
            found = super().pop(key, default)
            if found is not None:
                client.calls.cancel(batch)
                assert client.sent() == []
            return found

    client.calls.batches = Hooked(client.calls.batches)
    client.read(OK % (1, "1"))
    assert [message["params"]["id"] for message in client.sent()] == [1, 2]
    assert (len(client.calls), client.batches) == (0, [])


def test_a_connection_that_is_lost_ends_batches(client: Client) -> None:
    client.batch(2)
    client.sent()
    client.batch(1)
    client.session.close("lost")
    first, second = sorted(client.batches, key=len, reverse=True)
    assert all(isinstance(o, ConnectionLost) and o.maybe_executed for o in first)
    assert isinstance(second[0], ConnectionLost) and not second[0].maybe_executed
    with pytest.raises(ConnectionLost):
        client.batch(1)
    assert len(client.calls) == 0


def test_progress_of_a_call_in_a_batch_is_for_something(client: Client) -> None:
    client.batch(2)
    progress = '{"jsonrpc":"2.0","method":"$/progress","params":{"token":%d,"value":1}}'
    client.read(progress % 2)
    assert client.calls.unmatched == 0
    client.read(progress % 3)
    assert client.calls.unmatched == 1

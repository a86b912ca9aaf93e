"""Calls over a connection, with threads: replies, errors, batches, timeouts."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from npipe import rpc
from rpc.service import Service
from rpc.threads.peer import Peer, reply


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


@pytest.mark.parametrize("entry", [("subtract",), ("subtract", [], {}), 5, None, "subtract"])
def test_an_entry_of_a_batch_is_a_pair(client: rpc.Client, entry: Any) -> None:
    with pytest.raises(TypeError, match=r"an entry of a batch is \(method, params\), not"):
        client.batch([("subtract", [3, 1]), entry])
    assert client.call("subtract", 3, 1) == 2


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

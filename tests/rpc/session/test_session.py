"""A session alone: the rules of the specification by number, limits, both directions.

The examples and most of the wire's texts are in the transcripts; here is what they cannot show.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from npipe.errors import ConnectionLost, ProtocolError, RPCError
from npipe.rpc import API, Limits
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.receive_queue import EACH_BYTES
from npipe.rpc.session.session import Session
from npipe.security import PeerIdentity
from rpc.conftest import Wire
from rpc.service import make_api

OK = '{"jsonrpc":"2.0","id":%s,"method":"test_noArgsRets"}'


def test_r02_both_ends_call_and_serve() -> None:
    one, other = Session(Dispatcher(make_api())), Session(Dispatcher(make_api()))
    results: list[Any] = []
    one.outgoing_calls.call("subtract", b"[5,3]", results.append)
    other.outgoing_calls.call("subtract", b"[9,3]", results.append)
    for _ in range(2):
        for source, target in ((one, other), (other, one)):
            target.receive(source.take().splitlines())
            while (call := target.next_call()) is not None:
                call.run()
    assert [bytes(r) for r in results] == [b"2", b"6"]


def _admin_session(peer: PeerIdentity, later: PeerIdentity | None) -> tuple[str, list[int]]:
    """Return the reply to a call that only the owner may make, and the times that was asked."""
    asked: list[int] = []

    def ask() -> PeerIdentity | None:
        asked.append(1)
        return later

    api = API()
    api.register("admin", {"ping": lambda: "pong"}, allow=lambda peer: peer.sid == "S-1-5-21-7")
    session = Session(Dispatcher(api), peer=peer, ask_peer=ask)
    for _ in range(2):
        session.receive([b'{"jsonrpc":"2.0","id":1,"method":"admin_ping"}'])
        while (call := session.next_call()) is not None:
            call.run()
    return session.take().decode().splitlines()[0], asked


@pytest.mark.parametrize(
    ("before", "later", "allowed"),
    [(None, "S-1-5-21-7", True), (None, "S-1-5-21-8", False), (None, None, False)],
)
def test_w01_a_client_is_identified_before_its_first_message_is_bound(
    before: str | None, later: str | None, allowed: bool
) -> None:
    reply, asked = _admin_session(PeerIdentity(sid=before), PeerIdentity(sid=later))
    assert ("pong" in reply) is allowed
    assert asked == [1]


def test_w01_a_known_client_is_not_asked_again() -> None:
    reply, asked = _admin_session(PeerIdentity(sid="S-1-5-21-7"), PeerIdentity(sid="other"))
    assert "pong" in reply
    assert asked == []


@pytest.mark.parametrize(
    "id", ["1", "-1", "0", "1.50", "1e400", '"x"', '""', '"\\u0000"', "null", "9" * 400, '"ü"']
)
def test_r09_r13_r24_rpc_bug_17_ids_are_echoed_byte_for_byte(wire: Wire, id: str) -> None:
    assert wire(OK % id) == ['{"jsonrpc":"2.0","id":%s,"result":null}' % id]  # noqa: UP031


@pytest.mark.parametrize("id", ["[]", "{}", "true", "[1]"])
def test_r09_rpc_bug_17_what_cannot_be_an_id_is_refused(wire: Wire, id: str) -> None:
    (line,) = wire(OK % id)
    assert json.loads(line)["id"] is None
    assert json.loads(line)["error"]["code"] == -32600


def _call(wire: Wire, params: str, method: str = "subtract") -> Any:
    (line,) = wire('{"jsonrpc":"2.0","id":1,"method":"%s","params":%s}' % (method, params))  # noqa: UP031
    return json.loads(line)


@pytest.mark.parametrize("member", ["Method", "METHOD"])
def test_r01_the_names_of_members_are_case_sensitive(wire: Wire, member: str) -> None:
    (line,) = wire('{"jsonrpc":"2.0","id":1,"%s":"test_noArgsRets"}' % member)  # noqa: UP031
    assert json.loads(line)["error"]["code"] == -32600


@pytest.mark.parametrize("version", ["", '"jsonrpc":"1.0",', '"version":"1.1",'])
def test_r03_a_request_of_an_older_protocol_is_refused(wire: Wire, version: str) -> None:
    """Handling them is advice only; we refuse, with the id, as geth does."""
    (line,) = wire('{%s"id":7,"method":"test_noArgsRets","params":[]}' % version)  # noqa: UP031
    reply = json.loads(line)
    assert (reply["id"], reply["error"]["code"]) == (7, -32600)


@pytest.mark.parametrize("id", ["null", "1.5", "-0.0"])
def test_r11_r12_an_id_that_should_not_be_is_answered_all_the_same(wire: Wire, id: str) -> None:
    assert wire(OK % id) == ['{"jsonrpc":"2.0","id":%s,"result":null}' % id]  # noqa: UP031


def test_r16_by_position_the_order_is_the_functions(wire: Wire) -> None:
    assert _call(wire, "[42,23]")["result"] == 19
    assert _call(wire, "[23,42]")["result"] == -19


def test_r17_by_name_the_order_is_free_and_the_case_is_not(wire: Wire) -> None:
    assert _call(wire, '{"minuend":42,"subtrahend":23}')["result"] == 19
    assert _call(wire, '{"subtrahend":23,"minuend":42}')["result"] == 19
    assert _call(wire, '{"Minuend":42,"subtrahend":23}')["error"]["code"] == -32602


@pytest.mark.parametrize("params", ['{"minuend":42}', "{}", "[42]", "[]"])
def test_r18_params_that_are_missing_are_an_error(wire: Wire, params: str) -> None:
    assert _call(wire, params)["error"]["code"] == -32602


@pytest.mark.parametrize("code", [-32000, -32099, -32768, 0, 1, 444, -1])
def test_r30_r31_r32_a_functions_own_code_goes_out_as_it_is(code: int) -> None:
    """Servers' (r30), reserved (r31: for the program to mind) and free ones (r32) alike."""

    class Failing:
        def fail(self) -> None:
            raise RPCError("asked for", code=code)

    api = API()
    api.register("test", Failing())
    session = Session(Dispatcher(api))
    session.receive([b'{"jsonrpc":"2.0","id":1,"method":"test_fail"}'])
    while (call := session.next_call()) is not None:
        call.run()
    assert json.loads(session.take())["error"] == {"code": code, "message": "asked for"}


@pytest.mark.parametrize(
    "method", ["test_noArgsRets", "test_crash", "test_returnError", "nothing", "test_echo"]
)
def test_r10_r14_r15_r40_rpc_bug_16_notifications_are_never_answered(
    wire: Wire, method: str
) -> None:
    text = json.dumps({"jsonrpc": "2.0", "method": method, "params": []})
    assert wire(text) == []
    assert wire(f"[{text},{text}]") == []  # and no []


def test_r19_r23_one_reply_with_one_of_result_and_error(wire: Wire) -> None:
    for method in ("test_noArgsRets", "test_crash", "nothing"):
        (line,) = wire(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}))
        reply = json.loads(line)
        assert ("result" in reply) != ("error" in reply)


def test_r26_r27_r28_errors_have_a_code_a_message_and_perhaps_data(wire: Wire) -> None:
    (line,) = wire('{"jsonrpc":"2.0","id":1,"method":"test_returnError"}')
    error = {"code": 444, "message": "testError", "data": "testError data"}
    assert json.loads(line)["error"] == error
    (line,) = wire('{"jsonrpc":"2.0","id":1,"method":"test_crash"}')
    assert json.loads(line)["error"] == {"code": -32603, "message": "internal error"}


def test_r33_to_r37_rpc_bug_23_a_batch_keeps_its_order(wire: Wire) -> None:
    # what runs apart and what is answered at once, notifications in between
    calls = [
        {"jsonrpc": "2.0", "id": 1, "method": "sum", "params": [1]},
        {"jsonrpc": "2.0", "method": "sum", "params": [1]},
        {"jsonrpc": "2.0", "id": 2, "method": "subtract", "params": [1, 1]},
        {"jsonrpc": "2.0", "id": 3, "method": "sum", "params": [3]},
    ]
    (line,) = wire(json.dumps(calls))
    assert [reply["id"] for reply in json.loads(line)] == [1, 2, 3]


@pytest.mark.parametrize("text", ["[]", " [ ] ", "[\t]"])
def test_r38_rpc_bug_16_an_empty_batch_is_one_error(wire: Wire, text: str) -> None:
    (line,) = wire(text)
    assert json.loads(line)["error"]["code"] == -32600


@pytest.mark.parametrize("text", ["[null]", "[1]", "[[]]", '["x"]', "[true]"])
def test_r39_rpc_bug_01_and_05_junk_in_a_batch(wire: Wire, text: str) -> None:
    (line,) = wire(text)
    (reply,) = json.loads(line)
    assert (reply["id"], reply["error"]["code"]) == (None, -32600)


def test_rpc_bug_05_bad_json_is_answered_and_the_next_message_too(wire: Wire) -> None:
    bad, good = wire("{", OK % 1)
    assert json.loads(bad)["error"]["code"] == -32700
    assert json.loads(good)["result"] is None


def test_replies_are_never_answered(wire: Wire) -> None:
    assert wire('{"jsonrpc":"2.0","id":5,"result":1}', '{"id":[],"error":{}}') == []
    assert wire.session.outgoing_calls.unmatched == 2


def test_duplicate_ids_in_flight_are_both_answered(wire: Wire) -> None:
    assert len(wire(OK % 1, OK % 1)) == 2


def test_rpc_bug_22_a_batch_has_a_limit(make_wire: Callable[..., Wire], api: API) -> None:
    wire = make_wire(api, limits=Limits(batch_items=2))
    (line,) = wire("[" + ",".join([OK % 5] * 3) + "]")
    (reply,) = json.loads(line)
    assert (reply["id"], reply["error"]["code"]) == (5, -32600)


def test_replies_have_a_limit(make_wire: Callable[..., Wire], api: API) -> None:
    wire = make_wire(api, limits=Limits(reply_bytes=1000))
    call = '{"jsonrpc":"2.0","id":1,"method":"test_repeat","params":["x",%d]}'
    (line,) = wire(call % 2000)
    assert json.loads(line)["error"]["code"] == -32003
    (line,) = wire("[" + ",".join([call % 400] * 3) + "]")
    one, two, three = json.loads(line)
    assert "result" in one and "result" in two
    assert three["error"]["code"] == -32003


def test_calls_over_the_limit_wait(make_wire: Callable[..., Wire], api: API) -> None:
    size = len((OK % 0).encode()) + EACH_BYTES
    session = make_wire(api, limits=Limits(calls=2, message_bytes=2 * size)).session
    session.receive([(OK % id).encode() for id in range(7)])
    first, second = session.next_call(), session.next_call()
    assert first is not None and second is not None
    assert session.next_call() is None
    assert (
        not session.may_read
    )  # two run, two wait, two more do as bytes; nothing more is to be read
    assert session.in_flight == 6
    first.run()
    third = session.next_call()
    assert third is not None
    assert session.next_call() is None
    running = [second, third]
    while running:
        running.pop(0).run()
        while (call := session.next_call()) is not None:
            running.append(call)
    ids = [json.loads(line)["id"] for line in session.take().splitlines()]
    assert ids == list(range(7))
    assert session.idle


def test_what_ends_a_call_does_not_wait_behind_those_that_do(
    make_wire: Callable[..., Wire], api: API
) -> None:
    session = make_wire(api, limits=Limits(calls=1)).session
    outcomes: list[object] = []
    for _ in range(2):
        session.outgoing_calls.call("m", b"", outcomes.append)
    session.take()
    session.receive([(OK % id).encode() for id in range(1, 6)])
    session.receive(
        [
            b'{"jsonrpc":"2.0","id":1,"result":"one"}',
            b'[{"jsonrpc":"2.0","id":2,"result":"two"}]',
            b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}',
            b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":4}}',
        ]
    )
    call = session.next_call()
    assert call is not None
    assert session.next_call() is None
    assert [bytes(outcome) for outcome in outcomes] == [b'"one"', b'"two"']  # type: ignore[call-overload]
    assert call.cancelled
    while call is not None:
        call.run()
        call = session.next_call()
    replies = [json.loads(line) for line in session.take().splitlines()]
    cancelled = {reply["id"] for reply in replies if "error" in reply}
    assert (cancelled, len(replies)) == ({1, 4}, 5)
    assert session.idle


def test_a_waiting_call_that_is_cancelled_never_runs(
    make_wire: Callable[..., Wire], api: API
) -> None:
    session = make_wire(api, limits=Limits(calls=2)).session
    session.receive([(OK % id).encode() for id in (1, 2, 3)])
    session.receive([b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":3}}'])
    first, second = session.next_call(), session.next_call()
    assert first is not None and second is not None
    assert session.next_call() is None
    first.run()
    assert session.next_call() is None
    second.run()
    third = session.take().splitlines()[1]
    assert json.loads(third)["error"]["code"] == -32800
    assert session.idle


def test_a_cancelled_call_is_answered_once(wire: Wire) -> None:
    session = wire.session
    session.receive([(OK % '"a"').encode()])
    call = session.next_call()
    assert call is not None
    called: list[int] = []
    call.on_cancel(lambda: called.append(1))
    session.receive([b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"a"}}'] * 2)
    assert session.next_call() is None
    call.on_cancel(lambda: called.append(2))  # at once: it is cancelled already
    assert called == [1, 2]
    call.fail(RuntimeError())
    call.finish("late")
    (line,) = session.take().splitlines()
    assert json.loads(line)["error"]["code"] == -32800


def test_close_cancels_and_fails_everything(wire: Wire) -> None:
    session = wire.session
    session.receive([(OK % 1).encode()])
    call = session.next_call()
    assert call is not None
    outcomes: list[Any] = []
    session.outgoing_calls.call("x", b"", outcomes.append)
    session.take()
    session.outgoing_calls.call("y", b"", outcomes.append)
    session.close("gone")
    assert call.cancelled
    call.finish(None)
    assert session.take() == b""
    assert all(isinstance(outcome, ConnectionLost) for outcome in outcomes)
    assert {outcome.maybe_executed for outcome in outcomes} == {True, False}
    with pytest.raises(ConnectionLost):
        session.outgoing_calls.call("z", b"", outcomes.append)
    session.close("again")
    assert len(outcomes) == 2


def test_the_end_of_what_comes_leaves_calls_running(wire: Wire) -> None:
    session = wire.session
    session.receive([(OK % 1).encode()])
    call = session.next_call()
    assert call is not None
    session.receive_eof()
    assert not call.cancelled
    assert not session.idle
    call.run()
    assert b'"id":1' in session.take()
    assert session.idle


def test_subscriptions_have_a_limit(make_wire: Callable[..., Wire], api: API) -> None:
    session = Session(Dispatcher(api), limits=Limits(subscriptions=1))
    subscribe = b'{"jsonrpc":"2.0","id":1,"method":"test_subscribe","params":["counter",1]}'
    session.receive([subscribe, subscribe])
    assert session.next_call() is None
    first, second = session.take().splitlines()
    assert json.loads(second)["error"]["code"] == -32005
    id = json.loads(first)["result"]
    unsubscribe = b'{"jsonrpc":"2.0","id":1,"method":"test_unsubscribe","params":["%b"]}'
    session.receive([unsubscribe % id.encode(), subscribe])
    assert session.next_call() is None
    assert all("result" in json.loads(line) for line in session.take().splitlines())
    session.close()
    assert session.subscriptions == {}


def test_batches_of_our_own_match_by_id() -> None:
    session = Session(Dispatcher(API()))
    outcomes: list[Any] = []
    session.outgoing_calls.batch([("a", []), ("b", {}), ("c", [1])], outcomes.append)
    assert json.loads(session.take()) == [
        {"jsonrpc": "2.0", "id": 1, "method": "a"},
        {"jsonrpc": "2.0", "id": 2, "method": "b", "params": {}},
        {"jsonrpc": "2.0", "id": 3, "method": "c", "params": [1]},
    ]
    session.receive([b'[{"jsonrpc":"2.0","id":2,"result":"b"}]'])
    assert session.next_call() is None
    ((a, b, c),) = outcomes
    assert bytes(b) == b'"b"'
    assert isinstance(a, ProtocolError) and isinstance(c, ProtocolError)


def test_an_error_without_id_is_for_the_one_call_that_waits() -> None:
    session = Session(Dispatcher(API()))
    one: list[Any] = []
    session.outgoing_calls.call("a", b"", one.append)
    session.receive([b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}'])
    assert session.next_call() is None
    assert isinstance(one[0], RPCError)
    two: list[Any] = []
    session.outgoing_calls.call("a", b"", two.append)
    session.outgoing_calls.call("b", b"", two.append)
    session.receive([b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}'])
    assert session.next_call() is None
    assert two == []  # it cannot be told whose it is


junk = st.sampled_from(
    [
        b"{",
        b"[]",
        b"[1,null]",
        b"1",
        (OK % 1).encode(),
        (OK % '"x"').encode(),
        b'{"jsonrpc":"2.0","method":"test_crash"}',
        b'{"jsonrpc":"2.0","id":1,"method":"test_echo","params":{"string":1}}',
        b'{"jsonrpc":"2.0","id":1,"result":1}',
        b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}',
        b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}',
        b'{"jsonrpc":"2.0","method":"$/progress","params":{"token":1}}',
        b'{"jsonrpc":"2.0","method":"x_subscription","params":{"subscription":1}}',
        b'[{"jsonrpc":"2.0","id":1,"method":"sum"},{"jsonrpc":"2.0","id":2,"result":1}]',
        b'{"jsonrpc":"2.0","id":1,"method":"test_subscribe","params":["counter",2]}',
        b'{"jsonrpc":"2.0","id":1,"method":"test_unsubscribe","params":[1]}',
    ]
)


@given(st.lists(junk | st.binary(max_size=20), max_size=12))
def test_whatever_comes_what_goes_out_is_json_rpc(messages: list[bytes]) -> None:
    wire = Wire(make_api())
    for line in wire(*messages):
        replies = json.loads(line)
        assert replies != []
        for reply in replies if isinstance(replies, list) else [replies]:
            assert reply["jsonrpc"] == "2.0"
            assert ("result" in reply) + ("error" in reply) + ("method" in reply) == 1
    assert wire.session.idle


def test_a_reply_that_is_no_json_ends_its_call_and_no_other() -> None:
    session = Session(Dispatcher(make_api()))
    outcomes: list[Any] = []
    for _ in range(3):
        session.outgoing_calls.call("test_any", b"", outcomes.append)
    session.take()
    session.receive(
        [
            rb'{"jsonrpc":"2.0","id":2,"result":"\ud800"}',
            b'{"jsonrpc":"2.0","id":1,"result":1}',
            b'{"jsonrpc":"2.0","id":3,"error":{"code":1,"message":"\xff"}}',
        ]
    )
    assert session.next_call() is None
    lost, result, other = outcomes
    assert bytes(result) == b"1"
    assert isinstance(lost, ProtocolError)
    assert str(lost).startswith("the reply to the call 2 cannot be decoded")
    assert isinstance(other, ProtocolError)
    assert not session.has_output  # a reply is never answered


def test_a_batch_with_a_reply_that_is_no_json() -> None:
    session = Session(Dispatcher(make_api()))
    outcomes: list[Any] = []
    session.outgoing_calls.batch([("a", ()), ("b", ())], outcomes.extend)
    good = b'{"jsonrpc":"2.0","id":1,"result":1}'
    session.receive([b"[" + good + rb',{"jsonrpc":"2.0","id":2,"result":"\ud800"}]'])
    assert session.next_call() is None
    assert bytes(outcomes[0]) == b"1"
    assert isinstance(outcomes[1], ProtocolError)


def test_a_call_that_is_no_json_is_answered_with_its_id(wire: Wire) -> None:
    (line,) = wire(r'{"jsonrpc":"2.0","id":"a","method":"test_echoPlain","params":["\ud800"]}')
    reply = json.loads(line)
    assert (reply["id"], reply["error"]["code"]) == ("a", -32700)


def test_calls_end_with_the_violation_that_ended_the_connection() -> None:
    session = Session(Dispatcher(make_api()))
    outcomes: list[Any] = []
    session.outgoing_calls.call("test_any", b"", outcomes.append)
    session.take()
    session.refuse(ProtocolError("no header"))
    assert b"-32700" in session.take()
    session.close("protocol error: no header")
    assert type(outcomes[0]) is ProtocolError
    with pytest.raises(ConnectionLost, match="protocol error"):
        session.outgoing_calls.call("test_any", b"", outcomes.append)


def test_a_session_is_not_idle_while_a_thread_takes_a_call() -> None:
    session = Session(Dispatcher(make_api()))
    seen: list[bool] = []
    session.send_queue.on_put = lambda: seen.append(session.has_waiting)
    session.receive([b'{"jsonrpc":"2.0","id":1,"method":"unknown"}'])
    assert session.take_call() is None  # answered, from within
    assert seen == [True]
    assert session.take()
    assert session.idle


def test_a_session_is_not_idle_when_a_reply_is_queued_while_it_is_asked() -> None:
    session = Session(Dispatcher(make_api()))

    class Answered:
        """Forwarded calls, the last of which another thread answers during the question."""

        def __len__(self) -> int:
            session.send_queue.add(b'{"jsonrpc":"2.0","id":1,"result":null}')
            return 0

    session.become_proxy(lambda *_: None, Answered())
    assert not session.idle

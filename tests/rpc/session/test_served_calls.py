"""One served call: its reply is sent once, and its callbacks run once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from npipe.errors import RPCError
from npipe.rpc import API, Context
from npipe.rpc.service.dispatcher import CANCELLED, TOO_LARGE, Dispatcher
from npipe.rpc.session.served_calls import ServedBatch, ServedCall
from npipe.rpc.session.session import Session
from npipe.rpc.wire.json_encoding import JSON

ENCODING = JSON()


class Service:
    def add(self, a: int, b: int) -> int:
        return a + b

    def fail(self) -> None:
        raise RPCError("no", code=7)

    def leave(self, kind: str) -> None:
        raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[kind]

    def report(self, context: Context) -> str:
        context.progress(1)
        return "done"


@pytest.fixture
def session() -> Session:
    api = API()
    api.register("t", Service())
    return Session(Dispatcher(api))


def begin(session: Session, name: str, *params: Any) -> ServedCall:
    message = {"jsonrpc": "2.0", "id": 1, "method": f"t_{name}", "params": params}
    session.receive([json.dumps(message).encode()])
    call = session.next_call()
    assert call is not None
    return call


def sent(session: Session) -> list[Any]:
    return [json.loads(line) for line in session.take().splitlines()]


def test_a_call_is_answered_with_its_result_and_counted(session: Session) -> None:
    begin(session, "add", 1, 2).run()
    assert sent(session) == [{"jsonrpc": "2.0", "id": 1, "result": 3}]
    assert session.statistics.timings["t_add"].calls == 1
    assert session.in_flight == 0


def test_an_error_is_counted_by_its_code(session: Session) -> None:
    call = begin(session, "fail")
    call.run()
    assert sent(session)[0]["error"] == {"code": 7, "message": "no"}
    assert (call.code, session.statistics.errors) == (7, 1)
    assert session.statistics.timings["t_fail"].errors == {7: 1}


def test_an_exit_fails_the_call_like_an_error(session: Session) -> None:
    begin(session, "leave", SystemExit.__name__).run()
    assert sent(session)[0]["error"]["code"] == -32603


def test_an_interrupt_is_answered_as_a_cancellation_and_raised(session: Session) -> None:
    with pytest.raises(KeyboardInterrupt):
        begin(session, "leave", KeyboardInterrupt.__name__).run()
    assert sent(session)[0]["error"]["code"] == CANCELLED


def test_a_call_cancelled_before_it_began_is_not_run(session: Session) -> None:
    call = begin(session, "add", 1, 2)
    call.cancel()
    call.run()
    assert sent(session)[0]["error"]["code"] == CANCELLED


def test_a_call_is_answered_once(session: Session) -> None:
    call = begin(session, "add", 1, 2)
    call.finish(5)
    call.fail(RPCError("too late"))
    call.finish(6)
    assert [reply["result"] for reply in sent(session)] == [5]


def test_no_progress_is_sent_after_the_reply(session: Session) -> None:
    call = begin(session, "report")
    call.run()
    call.progress(2)
    assert [message.get("method") for message in sent(session)] == ["$/progress", None]


def test_cancel_callbacks_run_once_and_one_that_raises_stops_no_other(session: Session) -> None:
    call, ran = begin(session, "add", 1, 2), []
    call.on_cancel(lambda: ran.append("first"))
    call.on_cancel(lambda: 1 / 0)
    call.cancel()
    call.cancel()
    assert ran == ["first"]
    call.on_cancel(lambda: ran.append("late"))
    assert ran == ["first", "late"]


def test_callbacks_after_the_reply_of_a_batch_run_after_all_of_it() -> None:
    done: list[bytes] = []
    batch = ServedBatch(2, 1000, ENCODING, lambda _, reply: done.append(reply))
    batch.after.append(lambda: done.append(b"after"))
    batch.put(1, b"2", b'{"id":2}')
    batch.end()
    assert done == []
    batch.put(0, b"", b"")  # a notification
    assert done == [b'[{"id":2}]', b"after"]


def test_a_batch_of_notifications_is_not_answered() -> None:
    done: list[bytes] = []
    batch = ServedBatch(1, 1000, ENCODING, lambda _, reply: done.append(reply))
    batch.put(0, b"", b"")
    batch.end()
    assert done == [b""]


def test_a_batch_is_not_answered_before_all_its_items_have_begun() -> None:
    done: list[bytes] = []
    batch = ServedBatch(3, 1000, ENCODING, lambda _, reply: done.append(reply))
    batch.put(1, b"2", b'{"id":2}')  # by another thread, before the last item has begun
    batch.put_at_once(0, b"1", b'{"id":1}')
    batch.put_at_once(2, b"3", b'{"id":3}')
    assert done == []
    batch.end()
    assert done == [b'[{"id":1},{"id":2},{"id":3}]']


def test_a_batch_waits_for_the_last_of_its_running_calls() -> None:
    done: list[bytes] = []
    batch = ServedBatch(2, 1000, ENCODING, lambda _, reply: done.append(reply))
    batch.put_at_once(0, b"1", b'{"id":1}')
    batch.end()
    assert done == []
    batch.put(1, b"2", b'{"id":2}')
    assert done == [b'[{"id":1},{"id":2}]']


@pytest.mark.parametrize(("limit", "refused"), [(100, {1, 2}), (10_000, set())])
def test_what_does_not_fit_into_a_batch_is_an_error(limit: int, refused: set[int]) -> None:
    done: list[bytes] = []
    on_done: Callable[[ServedBatch, bytes], None] = lambda _, reply: done.append(reply)  # noqa: E731
    batch = ServedBatch(3, limit, ENCODING, on_done)
    for at in range(3):
        put = batch.put if at else batch.put_at_once
        put(at, b"%d" % at, ENCODING.reply(b"%d" % at, "x" * 60))
    batch.end()
    assert batch.refused == refused
    codes = [reply.get("error", {}).get("code") for reply in json.loads(done[0])]
    assert codes == [TOO_LARGE if at in refused else None for at in range(3)]

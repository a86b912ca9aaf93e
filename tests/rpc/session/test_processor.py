"""What becomes of a message: a reply at once, a call to be run, or nothing."""

from __future__ import annotations

import json

import pytest

from npipe.rpc import API, method
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session
from npipe.rpc.wire.messages import parse


class Service:
    def plain(self) -> int:
        return 1

    @method(inline=True)
    def quick(self) -> int:
        return 2


@pytest.fixture
def session() -> Session:
    api = API()
    api.register("t", Service())
    return Session(Dispatcher(api))


def work(session: Session, text: str) -> tuple[list[str], list[object]]:
    """Return the methods to be run, and the replies that were sent at once."""
    session.receive([text.encode()])
    calls = []
    while (call := session.next_call()) is not None:
        calls.append(call)
    replies = [json.loads(line) for line in session.take().splitlines()]
    for call in calls:
        call.run()
    session.take()
    return [call.method.name for call in calls], replies


def test_a_plain_function_is_a_call_and_an_inline_one_is_answered(session: Session) -> None:
    assert work(session, '{"jsonrpc":"2.0","id":1,"method":"t_plain"}') == (["t_plain"], [])
    assert work(session, '{"jsonrpc":"2.0","id":1,"method":"t_quick"}') == (
        [],
        [{"jsonrpc": "2.0", "id": 1, "result": 2}],
    )
    assert session.statistics.calls == 2


def test_an_inline_notification_is_counted_and_not_answered(session: Session) -> None:
    assert work(session, '{"jsonrpc":"2.0","method":"t_quick"}') == ([], [])
    assert session.statistics.timings["t_quick"].calls == 1


def test_a_batch_is_answered_when_its_last_call_is(session: Session) -> None:
    calls = ",".join(f'{{"jsonrpc":"2.0","id":{n},"method":"t_{name}"}}' for n, name in
                     enumerate(["quick", "plain"]))  # fmt: skip
    assert work(session, f"[{calls}]") == (["t_plain"], [])


def test_a_reply_without_a_call_is_counted_and_never_answered(session: Session) -> None:
    assert work(session, '{"jsonrpc":"2.0","id":9,"result":1}') == ([], [])
    assert session.outgoing_calls.unmatched == 1
    assert session.statistics.calls == 0


def test_a_proxy_passes_calls_and_notifications_on(session: Session) -> None:
    seen: list[tuple[object, bytes]] = []
    session.become_proxy(lambda message, its_id, _: seen.append((message.method, its_id)))
    for text in (
        '{"jsonrpc":"2.0","id":"x","method":"any"}',
        '{"jsonrpc":"2.0","method":"t_quick"}',
    ):
        assert work(session, text) == ([], [])
    assert seen == [("any", b'"x"'), ("t_quick", b"")]


def test_a_session_without_messages_offers_nothing(session: Session) -> None:
    assert session.next_call() is None
    assert isinstance(parse(b"[]"), list)
    assert work(session, "[]")[1][0]["error"]["code"] == -32600  # type: ignore[index]

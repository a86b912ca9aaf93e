"""Messages that wait: which of them are looked at while calls must wait."""

from __future__ import annotations

from npipe.rpc.session.receive_queue import ReceiveQueue
from npipe.rpc.wire.envelopes import Parsed
from npipe.rpc.wire.messages import parse

CALL = b'{"jsonrpc":"2.0","id":1,"method":"m"}'
NOTE = b'{"jsonrpc":"2.0","method":"m"}'
REPLY = b'{"jsonrpc":"2.0","id":1,"result":1}'
CANCEL = b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":1}}'
PUSH = b'{"jsonrpc":"2.0","method":"eth_subscription","params":{}}'
REPLIES = b"[" + REPLY + b"]"


def look(queue: ReceiveQueue) -> list[Parsed]:
    taken: list[Parsed] = []
    queue.look_ahead(taken.append)
    return taken


def test_what_is_about_earlier_calls_does_not_wait_behind_calls() -> None:
    queue = ReceiveQueue(10_000, parse)
    queue.new.extend([CALL, REPLY, NOTE, CANCEL, b"[" + CALL + b"]", PUSH, REPLIES, b"nonsense"])
    assert len(look(queue)) == 4
    assert list(queue.later) == [CALL, NOTE, b"[" + CALL + b"]", b"nonsense"]
    assert not queue.new


def test_a_parsed_message_is_moved_as_it_is() -> None:
    queue, message = ReceiveQueue(10_000, parse), parse(CALL)
    queue.new.append(message)  # type: ignore[arg-type]
    assert look(queue) == []
    assert list(queue.later) == [message]


def test_no_more_is_moved_aside_than_the_limit() -> None:
    queue = ReceiveQueue(300, parse)
    queue.new.extend([CALL] * 10)
    look(queue)
    assert (len(queue.later), len(queue.new)) == (3, 7)  # each counts 64 bytes more than its text
    look(queue)
    assert len(queue.later) == 3
    queue.later.clear()
    look(queue)
    assert len(queue.later) == 3


def test_short_messages_count_for_the_memory_that_they_take() -> None:
    queue = ReceiveQueue(640, parse)
    queue.new.extend([b"{}"] * 100)
    look(queue)
    assert len(queue.later) == 10


def test_a_cancellation_is_remembered_while_calls_are_aside() -> None:
    queue = ReceiveQueue(10_000, parse)
    queue.cancel_later(b"1")
    assert not queue.cancelled  # no call is aside: it was answered, or never came
    queue.new.append(CALL)
    look(queue)
    queue.cancel_later(b"1")
    assert queue.cancelled == {b"1"}
    queue.later.clear()
    look(queue)
    assert not queue.cancelled


def test_clear_drops_everything() -> None:
    queue = ReceiveQueue(10_000, parse)
    queue.new.extend([CALL, CALL])
    look(queue)
    queue.new.append(CALL)
    queue.clear()
    assert not queue.new
    assert not queue.later

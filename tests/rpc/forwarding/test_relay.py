"""Two sessions that pass on to each other what they receive."""

from __future__ import annotations

import pytest

from npipe.rpc import API
from npipe.rpc.forwarding.relay import join_sessions
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.session import Session


def joined() -> tuple[Session, Session]:
    client, upstream = Session(Dispatcher(API())), Session(Dispatcher(API()))
    join_sessions(client, upstream)
    return client, upstream


@pytest.mark.parametrize("text", [rb'"\ud800"', b'["\xff"]', b"[1,]", b"null"])
def test_what_is_no_json_passes_as_it_came_both_ways(text: bytes) -> None:
    client, upstream = joined()
    client.receive([b'{"jsonrpc":"2.0","id":"a","method":"any","params":[%b]}' % text])
    assert client.next_call() is None
    call = b'{"jsonrpc":"2.0","id":1,"method":"any","params":[%b]}\n' % text
    assert upstream.take() == call
    upstream.receive([b'{"jsonrpc":"2.0","id":1,"result":%b}' % text])
    assert upstream.next_call() is None
    assert client.take() == b'{"jsonrpc":"2.0","id":"a","result":%b}\n' % text
    assert client.idle


def test_an_error_that_is_no_json_passes_as_it_came() -> None:
    client, upstream = joined()
    client.receive([b'{"jsonrpc":"2.0","id":5,"method":"any"}'])
    assert client.next_call() is None
    upstream.take()
    error = rb'{"code":1,"message":"\udfff"}'
    upstream.receive([b'{"jsonrpc":"2.0","id":1,"error":%b}' % error])
    assert upstream.next_call() is None
    assert client.take() == b'{"jsonrpc":"2.0","id":5,"error":%b}\n' % error


def test_a_call_for_an_end_that_has_just_gone_says_that_it_was_not_executed() -> None:
    client, upstream = joined()
    upstream.receive_eof()
    client.receive([b'{"jsonrpc":"2.0","id":5,"method":"any"}'])
    assert client.next_call() is None
    (reply,) = client.take().splitlines()
    assert b'"id":5,"error":{"code":-32000' in reply
    assert b'"data":{"maybe_executed":false}' in reply
    assert client.idle


def test_a_lost_call_says_that_it_may_have_been_executed() -> None:
    client, upstream = joined()
    client.receive([b'{"jsonrpc":"2.0","id":5,"method":"any"}'])
    assert client.next_call() is None
    assert upstream.take()
    upstream.receive_eof()
    assert b'"data":{"maybe_executed":true}' in client.take()


def test_the_context_of_a_trace_passes_as_it_came() -> None:
    client, upstream = joined()
    members = b'"traceparent":"odd","tracestate":7}'
    client.receive([b'{"jsonrpc":"2.0","id":5,"method":"any",' + members])
    client.receive([b'{"jsonrpc":"2.0","method":"note",' + members])
    assert client.next_call() is None
    call, notification = upstream.take().splitlines()
    assert call.endswith(b"," + members) and notification.endswith(b"," + members)

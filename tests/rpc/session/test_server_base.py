"""What servers of both flavours share: options, open connections, counters."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from npipe import rpc
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.server_base import ServerBase
from npipe.rpc.session.session import Session


class Server(ServerBase[Any]):
    def _start(self, dispatcher: Dispatcher, codec: Any) -> None:
        self.started = dispatcher, codec


class Driver:
    bytes_in, bytes_out = 5, 7

    def __init__(self, number: int) -> None:
        self.session = Session(Dispatcher(rpc.API()), connection_id=number)


def test_the_options_reach_the_dispatcher() -> None:
    api = rpc.API()
    server = Server(api, codec="ndjson", show_errors=True, error_code=-32000, log_calls=True)
    dispatcher, codec = server.started
    assert (dispatcher.api, codec, server.limits) == (api, "ndjson", rpc.Limits())
    error = dispatcher.to_rpc_error("x_f", 1, ValueError("why"))
    assert (error.code, error.message) == (-32000, "ValueError: why")


def test_connections_are_counted_while_open_and_afterwards(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "npipe.rpc")
    server = Server(rpc.API(), limits=rpc.Limits(connections=2))
    first, second = Driver(1), Driver(2)
    server._count(first)
    assert not server._is_full()
    server._count(second)
    assert server._is_full()
    server._discount(first, "for a reason")
    assert not server._is_full()
    stats = server.stats()
    assert stats["connections"] == {"open": 1, "total": 2}
    assert (stats["bytes_in"], stats["bytes_out"]) == (10, 14)
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "connection 000001 opened by None",
        "connection 000002 opened by None",
        "refused a client: 2 connections are open",
        "connection 000001 closed (for a reason)",
    ]

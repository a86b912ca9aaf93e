"""A second address for a server, recorded or not."""

from __future__ import annotations

import contextlib
import errno

import pytest

import npipe
from npipe import rpc
from npipe.recording import Event, Recorder, Relay
from recording.conftest import WINDOWS, talk


@pytest.fixture
def front(address: str) -> str:
    return f"{address}2"


def test_what_passes_is_recorded(shop: str, front: str) -> None:
    events: list[Event] = []
    recorder = Recorder(events.extend)
    relay = Relay(shop, recorder=recorder)
    with npipe.listen(front) as listener:
        relay.serve(listener)
        direct, relayed = talk(shop), talk(front)
        assert relay.wait(20)
    recorder.close()
    assert relayed[3:] == direct[3:]
    sides = {event.side for event in events if event.message}
    assert sides == {"client", "server"}
    assert sum(event.end for event in events) == 2


def test_without_a_server_the_client_is_hung_up_on_and_it_is_told(address: str, front: str) -> None:
    events: list[Event] = []
    refused: list[OSError] = []
    recorder = Recorder(events.extend)
    relay = Relay(address, recorder=recorder, on_refused=refused.append)
    with npipe.listen(front) as listener:
        relay.serve(listener)
        with npipe.connect(front, connect_timeout=20) as client:
            client.set_deadline(None)
            with contextlib.suppress(ConnectionResetError):
                assert client.read(1) == b""
        assert relay.wait(20)
    recorder.close()
    assert [error.errno for error in refused] == [errno.ENOENT]
    assert [bool(event.refused) for event in events] == [False, True]


@pytest.mark.skipif(WINDOWS, reason="a Windows pipe has no half-close")
def test_a_half_close_is_passed_on(shop: str, front: str) -> None:
    relay = Relay(shop)
    with npipe.listen(front) as listener:
        relay.serve(listener)
        with npipe.connect(front, connect_timeout=20) as client:
            client.write(b'{"jsonrpc":"2.0","id":1,"method":"shop_order","params":["tea"]}')
            client.close_write()
            data = b""
            while chunk := client.read(1000):
                data += chunk
    assert b'"name":"tea"' in data


def test_close_ends_what_passes(shop: str, front: str) -> None:
    relay = Relay(shop)
    with npipe.listen(front) as listener:
        relay.serve(listener)
        with rpc.connect(front, timeout=20) as client:
            client.call("shop_order", "tea")
            assert relay.connections == 1
            relay.close()
            assert relay.wait(20)
            with pytest.raises(rpc.ConnectionLost):
                client.call("shop_order", "tea")

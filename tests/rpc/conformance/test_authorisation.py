"""Namespaces for those who may, over real connections: to others they are not there at all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import pytest

from npipe import rpc
from npipe.security import PeerIdentity
from rpc.conftest import ServeAPI


class Service:
    def hello(self) -> str:
        return "hello"

    @rpc.subscription
    def count(self) -> Iterator[int]:
        yield 1


@pytest.fixture
def asked(serve_api: ServeAPI) -> list[PeerIdentity | None]:
    """Serve; return who was asked for."""
    asked: list[PeerIdentity | None] = []

    def nobody(peer: PeerIdentity | None) -> bool:
        asked.append(peer)
        return False

    def me(peer: PeerIdentity | None) -> bool:
        return peer is not None and peer.pid == os.getpid()

    api = rpc.API()
    api.register("open", Service())
    api.register("mine", Service(), allow=me)
    api.register("secret", Service(), allow=nobody)
    serve_api(api)
    return asked


def test_who_may_not_finds_nothing_in_any_way(
    asked: list[PeerIdentity | None], address: str
) -> None:
    with rpc.connect(address, timeout=60) as client:
        with pytest.raises(rpc.MethodNotFound):
            client.call("secret_hello")
        with pytest.raises(rpc.MethodNotFound):
            client.subscribe("secret", "count")
        with pytest.raises(rpc.MethodNotFound):
            client.call("secret_unsubscribe", "0x1")
        refused, allowed = client.batch([("secret_hello", []), ("open_hello", [])])
        assert isinstance(refused, rpc.MethodNotFound)
        assert allowed == "hello"
        assert "secret" not in client.modules()
        assert "secret" not in json.dumps(client.call("rpc.discover"))
        assert asked
        assert asked[0] is not None
        assert sys.platform == "win32" or asked[0].uid == os.getuid()


def test_who_may_finds_everything(asked: list[PeerIdentity | None], address: str) -> None:
    with rpc.connect(address, timeout=60) as client:
        assert client.call("mine_hello") == "hello"
        assert list(client.subscribe("mine", "count")) == [1]
        assert "mine" in client.modules()
        assert "mine_hello" in json.dumps(client.call("rpc.discover"))

"""A service, a server of it, a client of that, and a client whose peer the test plays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from npipe import rpc
from rpc.service import Service, make_api
from rpc.threads.peer import Peer


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(service: Service, address: str) -> Iterator[rpc.Server]:
    with rpc.Server(make_api(service)) as server:
        server.serve(address)
        yield server
        service.release.set()


@pytest.fixture
def client(server: rpc.Server, address: str) -> Iterator[rpc.Client]:
    with rpc.connect(address, timeout=60) as client:
        yield client


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.client.close()
    peer.connection.close()

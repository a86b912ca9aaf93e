"""Fixtures of the tests on a real kernel: Windows, or Wine."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from npipe.address import Address
from npipe.transport.windows import connect as windows
from npipe.transport.windows.listener import WindowsListener
from transport.windows.real.ledger import Ledger, Pair, Spawn


@pytest.fixture
def api() -> Iterator[Ledger]:
    """Every test ends with every handle closed, once."""
    api = Ledger()
    yield api
    assert api.open == set()


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Run a function in a thread; its future gives the result, or raises what it raised."""
    with ThreadPoolExecutor(max_workers=40) as pool:
        yield pool.submit


@pytest.fixture
def address() -> Address:
    return Address("pipe", rf"\\.\pipe\npipe-test-{uuid.uuid4()}")


@pytest.fixture
def listener(api: Ledger, address: Address) -> Iterator[WindowsListener]:
    with windows.listen(address, api=api) as listener:
        yield listener


@pytest.fixture
def pair(api: Ledger, listener: WindowsListener) -> Iterator[Pair]:
    client = windows.connect(listener.address, api=api)
    with client, listener.accept(5) as server:
        yield client, server


@pytest.fixture
def message_pair(api: Ledger, address: Address) -> Iterator[Pair]:
    with windows.listen(address, message_mode=True, api=api) as listener:
        client = windows.connect(address, api=api)
        with client, listener.accept(5) as server:
            yield client, server

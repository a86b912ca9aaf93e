"""Fixtures of the tests on the fake kernel. Each test ends with every handle given back, once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from npipe.transport.windows import connect as windows
from npipe.transport.windows.listener import WindowsListener
from npipe.transport.windows.port import CompletionPort
from transport.windows.fake_kernel32 import FakeKernel32
from transport.windows.faked import ADDRESS, Pair, Spawn, connect


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Run a function in a thread; its future gives the result, or raises what it raised."""
    with ThreadPoolExecutor(max_workers=40) as pool:
        yield pool.submit


@pytest.fixture
def fake() -> Iterator[FakeKernel32]:
    fake = FakeKernel32()
    yield fake
    assert fake.faults == []
    assert fake.ledger == {"handles": 0, "descriptors": 0}


@pytest.fixture
def listener(fake: FakeKernel32) -> Iterator[WindowsListener]:
    with windows.listen(ADDRESS, api=fake) as listener:
        yield listener


@pytest.fixture
def pair(fake: FakeKernel32, listener: WindowsListener) -> Iterator[Pair]:
    with connect(fake) as client, listener.accept(60) as server:
        yield client, server


@pytest.fixture
def message_pair(fake: FakeKernel32) -> Iterator[Pair]:
    listener = windows.listen(ADDRESS, message_mode=True, api=fake)
    with listener, connect(fake) as client, listener.accept(60) as server:
        yield client, server


@pytest.fixture
def port(fake: FakeKernel32) -> Iterator[CompletionPort]:
    port = CompletionPort(fake)
    yield port
    port.close()
    assert not port.begun

"""What the tests of NATS share: a real broker."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from peers.brokers import Broker

StartBroker = Callable[..., Broker]


@pytest.fixture
def start_broker() -> Iterator[StartBroker]:
    """Start a broker with a configuration; it is killed at the end."""
    if sys.platform == "win32":
        pytest.skip("no nats-server for Windows here")
    with ExitStack() as stack:

        def start(config: str = "") -> Broker:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="np"))
            broker = Broker(Path(directory), config)
            stack.callback(broker.kill)
            return broker

        yield start


@pytest.fixture
def broker(start_broker: StartBroker) -> Broker:
    return start_broker()

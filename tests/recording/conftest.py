"""What the tests of recording share: a server with calls, subscriptions and callbacks."""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from npipe import rpc

WINDOWS = sys.platform == "win32"


class Shop:
    """What the recorded server does."""

    def __init__(self, price: int = 3) -> None:
        self.price = price
        self.orders = 0

    def order(self, name: str) -> dict[str, object]:
        self.orders += 1
        return {"name": name, "number": self.orders, "price": self.price}

    def wait(self, context: rpc.Context) -> str:
        context.progress("half")
        return "done"

    def ask(self, context: rpc.Context, question: str) -> object:
        return context.remote.call("user_answer", question)

    @rpc.subscription
    def ticks(self, count: int) -> Iterator[int]:
        yield from range(count)


class User:
    """What the client serves."""

    def answer(self, question: str) -> str:
        return f"{question}? yes"


def talk(address: str) -> list[object]:
    """Use every kind of message; return what came back."""
    user = rpc.API()
    user.register("user", User())
    progress: list[object] = []
    with rpc.connect(address, api=user, timeout=20) as client:
        ticks = client.subscribe("shop", "ticks", 2)
        found = [
            client.call("shop_order", "tea"),
            client.call("shop_order", "tea"),
            client.batch([("shop_order", ["jam"]), ("shop_none", [])])[0],
            client.call("shop_wait", on_progress=progress.append),
            client.call("shop_ask", "sure"),
            list(ticks),
        ]
        with pytest.raises(rpc.RPCError, match="shop_none"):
            client.call("shop_none")
    return [*found, progress]


def open_shop(address: str, price: int = 3) -> rpc.Server:
    """Serve a shop at ``address``."""
    api = rpc.API()
    api.register("shop", Shop(price))
    server = rpc.Server(api)
    server.serve(address)
    return server


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name: socket paths are limited to about 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="np") as name:
        yield Path(name)


@pytest.fixture
def address(directory: Path) -> str:
    """An address that no one else has."""
    return rf"\\.\pipe\np-{uuid.uuid4().hex}" if WINDOWS else str(directory / "s")


@pytest.fixture
def shop(address: str) -> Iterator[str]:
    """The address of a server."""
    with open_shop(address):
        yield address

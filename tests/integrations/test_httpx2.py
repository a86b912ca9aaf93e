"""What httpx2 has beyond httpx: WebSocket. The rest is tested with httpx, by the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from integrations.conftest import Library

Serve = Callable[..., Any]


def test_websocket(address: str, serve: Serve, me: str) -> None:
    library = Library("httpx2")
    pytest.importorskip("wsproto")

    async def main() -> None:
        async with (
            library.async_client(address) as client,
            client.websocket("ws://shop/") as socket,
        ):
            await socket.send_text("hello")
            assert await socket.receive_text() == f"{me} hello"

    with serve(address, ws="wsproto"):
        asyncio.run(main())
        with library.client(address) as client, client.websocket("ws://shop/") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == f"{me} hello"

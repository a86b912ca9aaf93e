"""What the tests of the rpc room share: a service to call, a session to talk to, an address."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from npipe.rpc import API, Limits, RPCError, Server, aio
from npipe.rpc.service.dispatcher import Dispatcher
from npipe.rpc.session.served_subscriptions import ServedSubscription
from npipe.rpc.session.session import Session
from rpc.service import make_api


class Wire:
    """A session alone, as its other end sees it: lines in, lines out."""

    def __init__(self, api: API, *, limits: Limits | None = None, **options: object) -> None:
        self.session = Session(
            Dispatcher(api, **options),  # type: ignore[arg-type]
            limits=limits,
            connection_id=17,
            on_subscription=self._run_subscription,
        )

    def __call__(self, *lines: str | bytes) -> list[str]:
        """Send lines; return the lines that come back."""
        self.session.receive([x.encode() if isinstance(x, str) else x for x in lines])
        while (call := self.session.next_call()) is not None:
            call.run()
        data = self.session.take(pushes=True)
        while self.session.has_pushes:
            data += self.session.take(pushes=True)
        return data.decode().splitlines()

    def _run_subscription(self, subscription: ServedSubscription) -> None:
        error = None
        try:
            for item in subscription.items():
                if not subscription.push(item):
                    break
        except RPCError as caught:
            error = caught
        subscription.finish(error)


@pytest.fixture
def api() -> API:
    return make_api()


@pytest.fixture
def wire(api: API) -> Wire:
    return Wire(api)


@pytest.fixture
def make_wire() -> Callable[..., Wire]:
    return Wire


@pytest.fixture
def address() -> Iterator[str]:
    if sys.platform == "win32":
        yield rf"\\.\pipe\npipe-test-{uuid.uuid4().hex}"
        return
    directory = tempfile.mkdtemp(prefix="np")
    try:
        yield str(Path(directory, "s"))
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(directory)


ServeAPI = Callable[..., Server | aio.Server]


@pytest.fixture(params=["threads", "asyncio"])
def serve_api(request: pytest.FixtureRequest, address: str) -> Iterator[ServeAPI]:
    """Serve an API at ``address``, with the options of a server: once with each runtime."""
    ends: list[Callable[[], object]] = []

    def start(api: API, **options: Any) -> Server | aio.Server:
        if request.param == "threads":
            server = Server(api, **options)
            server.serve(address)
            ends.append(server.stop)
            return server
        aio_server, stop = _serve_on_a_loop(api, address, options)
        ends.append(stop)
        return aio_server

    yield start
    for end in ends:
        end()


def _serve_on_a_loop(
    api: API, address: str, options: dict[str, Any]
) -> tuple[aio.Server, Callable[[], object]]:
    """Serve in a thread; return the server, and what ends it."""
    end = asyncio.Event()
    serving: Future[tuple[aio.Server, asyncio.AbstractEventLoop]] = Future()

    async def main() -> None:
        async with aio.Server(api, **options) as server:
            await server.serve(address)
            serving.set_result((server, asyncio.get_running_loop()))
            await end.wait()

    # The loop is made in its thread: one of the main thread would have signals wake it on Windows.
    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    server, loop = serving.result(60)

    def stop() -> None:
        loop.call_soon_threadsafe(end.set)
        thread.join(60)

    return server, stop

"""What the tests of the integrations share: addresses, and an ASGI application to talk to."""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

import npipe
from peers.require import require

NODE = Path(__file__).with_name("node")
WINDOWS = sys.platform == "win32"
#: Seconds after which a test gives up; never reached where all is well.
PATIENCE = 60.0 if WINDOWS else 30.0  # the first start of a program takes long under Wine


@pytest.fixture
def directory() -> Iterator[Path]:
    """A new directory with a path short enough for a socket in it."""
    made = tempfile.mkdtemp(prefix="np")
    yield Path(made)
    shutil.rmtree(made, ignore_errors=WINDOWS)


@pytest.fixture
def new_address(directory: Path) -> Callable[[], str]:
    """Makes addresses: of pipes on Windows, of sockets elsewhere."""
    if WINDOWS:
        return lambda: rf"\\.\pipe\npipe-test-{uuid.uuid4().hex}"
    return lambda: str(directory / uuid.uuid4().hex[:8])


@pytest.fixture
def address(new_address: Callable[[], str]) -> str:
    return new_address()


def identity(peer: Any) -> str:
    """Return what tells one peer from another, as text; Wine may know the SID, or only the pid."""
    return str((peer.sid, peer.pid) if WINDOWS else peer.uid)


@pytest.fixture
def both(new_address: Callable[[], str]) -> tuple[str, str]:
    """The identity of the tests' own process, as a server sees it and as a client does."""
    address = new_address()
    with (
        npipe.listen(address) as listener,
        npipe.connect(address) as client,
        listener.accept(PATIENCE) as server,
    ):
        return identity(server.peer), identity(client.peer)


@pytest.fixture
def me(both: tuple[str, str]) -> str:
    """The identity that a server sees for a client that runs here."""
    return both[0]


class App:
    """An ASGI application; ``events`` lists its lifespan and the requests that were given up."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.given_up = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await getattr(self, scope["type"])(scope, receive, send)

    async def lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        for event in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{event}"
            self.events.append(event)
            await send({"type": f"lifespan.{event}.complete"})

    async def http(self, scope: Any, receive: Any, send: Any) -> None:
        match scope["path"]:
            case "/who":
                await reply(send, json.dumps(told(scope)).encode())
            case "/echo":
                await reply(send, await body(receive))
            case "/stream":
                await send({"type": "http.response.start", "status": 200})
                for _ in range(5):
                    part = {"type": "http.response.body", "body": b"x" * 100_000}
                    await send({**part, "more_body": True})
                await send({"type": "http.response.body"})
            case "/never":
                while (await receive())["type"] != "http.disconnect":
                    pass
                self.given_up.set()
            case _:
                await reply(send, b"", 404)

    async def websocket(self, scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        text = (await receive())["text"]
        await send({"type": "websocket.send", "text": told(scope)["peer"] + " " + text})
        await send({"type": "websocket.close"})


def told(scope: Any) -> dict[str, Any]:
    headers = dict(scope["headers"])
    peer = identity(scope["extensions"]["npipe"]["peer"])
    return {"peer": peer, "host": headers[b"host"].decode(), "server": scope["server"]}


async def body(receive: Any) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def reply(send: Any, content: bytes, status: int = 200) -> None:
    kind = b"application/json" if content[:1] in (b"{", b"[") else b"application/octet-stream"
    headers = [(b"content-length", b"%d" % len(content)), (b"content-type", kind)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@contextmanager
def serving(app: Any, address: str, **config: Any) -> Iterator[None]:
    """Serve ``app`` at ``address`` by our uvicorn server, in a thread."""
    import uvicorn

    from npipe.integrations.uvicorn import Server

    server = Server(address, uvicorn.Config(app, log_level="warning", **config))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def serve(app: App) -> Callable[..., AbstractContextManager[None]]:
    """Serve the application: ``with serve(address):``."""
    pytest.importorskip("uvicorn")
    return lambda address, **config: serving(app, address, **config)


@contextmanager
def node_http(address: str) -> Iterator[None]:
    """Run node's own http server at ``address``."""
    command = [str(require("node")), str(NODE / "http.cjs"), "serve", address]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == b"ready"
        yield
    finally:
        process.kill()
        process.communicate()


class Library:
    """One of the two packages, and our file for it."""

    def __init__(self, name: str) -> None:
        self.httpx = pytest.importorskip(name)
        self.ours = importlib.import_module(f"npipe.integrations.{name}")

    def client(self, address: str, **options: Any) -> Any:
        transport = self.ours.Transport(address, wait=True, **options)
        return self.httpx.Client(transport=transport, base_url="http://shop", timeout=PATIENCE)

    def async_client(self, address: str, **options: Any) -> Any:
        transport = self.ours.AsyncTransport(address, wait=True, **options)
        return self.httpx.AsyncClient(transport=transport, base_url="http://shop", timeout=PATIENCE)


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Library:
    return Library(request.param)

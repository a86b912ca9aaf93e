"""uvicorn's server on a pipe: what it tells the application, its start and its end."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import stat
import sys
from collections.abc import Callable
from typing import Any

import pytest

import npipe
from integrations.conftest import NODE, PATIENCE, App, serving
from peers.require import run_node

uvicorn = pytest.importorskip("uvicorn")
from npipe.integrations.uvicorn import Server  # noqa: E402

Serve = Callable[..., Any]


def request(address: str, text: bytes) -> bytes:
    """Send a request by hand, on a connection of its own; return the whole response."""
    with npipe.connect(address, wait=True, connect_timeout=PATIENCE) as connection:
        connection.write(text)
        return io.BufferedReader(connection).read()


GET_WHO = b"GET /who HTTP/1.1\r\nHost: hand\r\nConnection: close\r\n\r\n"


def test_the_application_is_told_its_caller(address: str, serve: Serve, me: str) -> None:
    with serve(address):
        response = request(address, GET_WHO)
    assert response.startswith(b"HTTP/1.1 200")
    assert f'"peer": "{me}", "host": "hand"'.encode() in response


@pytest.mark.skipif(sys.platform == "win32", reason="file modes are POSIX's")
@pytest.mark.parametrize(("options", "mode"), [({}, 0o600), ({"access": "everyone"}, 0o666)])
def test_the_socket_is_the_owner_s_unless_said_otherwise(
    address: str, app: App, options: dict[str, Any], mode: int
) -> None:
    async def main() -> None:
        server = Server(address, uvicorn.Config(app, log_level="warning"), **options)
        running = asyncio.ensure_future(server.serve())
        while not getattr(server, "servers", None):
            await asyncio.sleep(0.01)
        assert stat.S_IMODE(os.stat(address).st_mode) == mode
        server.should_exit = True
        await running
        assert not os.path.exists(address)

    asyncio.run(main())


def test_lifespan(address: str, app: App, serve: Serve) -> None:
    with serve(address):
        request(address, GET_WHO)
        assert app.events == ["startup"]
    assert app.events == ["startup", "shutdown"]


def test_a_name_that_is_taken_starts_no_application(address: str, app: App) -> None:
    server = Server(address, uvicorn.Config(app, log_level="warning"))
    with npipe.listen(address), pytest.raises(OSError):
        asyncio.run(server.serve())
    assert app.events == []


def test_an_application_that_does_not_start_frees_the_name(address: str) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    server = Server(address, uvicorn.Config(broken, log_level="critical"))
    with contextlib.suppress(SystemExit):  # as newer releases end
        asyncio.run(server.serve())
    assert not server.started
    npipe.listen(address).close()


def test_a_request_in_progress_is_finished_at_shutdown(address: str) -> None:
    async def main() -> bytes:
        arrived, finish = asyncio.Event(), asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                return
            arrived.set()
            await finish.wait()
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": b"done"})

        server = Server(address, uvicorn.Config(slow, log_level="warning", lifespan="off"))
        running = asyncio.ensure_future(server.serve())
        client = asyncio.ensure_future(asyncio.to_thread(request, address, GET_WHO))
        await arrived.wait()
        server.should_exit = True
        asyncio.get_running_loop().call_later(0.3, finish.set)  # well into the shutdown
        await running
        return await client

    assert asyncio.run(main()).endswith(b"done\r\n0\r\n\r\n")


def test_node_s_client(address: str, serve: Serve) -> None:
    with serve(address):
        told = run_node(str(NODE / "http.cjs"), "request", address, "/echo")
    assert told == {"status": 200, "length": 200_000, "same": True}


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop is for POSIX")
def test_uvloop(address: str, app: App, me: str) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> bytes:
        server = Server(address, uvicorn.Config(app, log_level="warning"))
        running = asyncio.ensure_future(server.serve())
        response = await asyncio.to_thread(request, address, GET_WHO)
        server.should_exit = True
        await running
        return response

    assert f'"peer": "{me}"'.encode() in uvloop.run(main())


@pytest.mark.filterwarnings("ignore:Uvicorn's native WSGI:DeprecationWarning")
def test_wsgi(address: str) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"hi"]

    with serving(application, address, interface="wsgi", lifespan="off"):
        assert request(address, GET_WHO).endswith(b"hi")


@pytest.mark.parametrize("config", [{"workers": 2}, {"reload": True}, {"ssl_keyfile": "k"}])
def test_what_a_pipe_has_not_is_refused(address: str, app: App, config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pipe"):
        Server(address, uvicorn.Config("m:app", **config))

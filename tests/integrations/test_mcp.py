"""The Model Context Protocol over a pipe, by the official SDK at both ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import npipe.aio
from integrations.conftest import PATIENCE, identity

mcp = pytest.importorskip("mcp")
from mcp.server.mcpserver import Context, MCPServer  # noqa: E402

from npipe.integrations.mcp import connect, serve  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mcp")


def new_server() -> Any:
    server = MCPServer("demo")

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    @server.tool()
    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    @server.tool()
    def who(context: Context) -> str:
        return identity(context.request_context.request.peer)

    @server.tool()
    async def ask(context: Context) -> str:
        await context.report_progress(1, 2, "half")
        return "asked"

    return server


@contextlib.asynccontextmanager
async def serving(address: str) -> AsyncIterator[None]:
    task = asyncio.ensure_future(serve(address, new_server()))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def run(address: str, test: Callable[[], Any]) -> None:
    async def main() -> None:
        async with serving(address), asyncio.timeout(PATIENCE):
            await test()

    asyncio.run(main())
    gc.collect()  # what was not closed warns now, in this test


def client_of(address: str) -> Any:
    return mcp.Client(connect(address, wait=True, connect_timeout=PATIENCE))


def test_tools(address: str, me: str) -> None:
    async def test() -> None:
        async with client_of(address) as client:
            tools = (await client.list_tools()).tools
            assert {tool.name for tool in tools} == {"add", "ask", "never", "who"}
            result = await client.call_tool("add", {"a": 1, "b": 2})
            assert result.structured_content == {"result": 3}
            assert (await client.call_tool("who", {})).content[0].text == me

    run(address, test)


def test_many_clients_at_once(address: str) -> None:
    async def test() -> None:
        async with client_of(address) as one, client_of(address) as other:
            calls = [
                client.call_tool("add", {"a": number, "b": 1})
                for number in range(10)
                for client in (one, other)
            ]
            results = await asyncio.gather(*calls)
            assert sum(result.structured_content["result"] for result in results) == 110

    run(address, test)


def test_a_call_times_out(address: str) -> None:
    async def test() -> None:
        async with client_of(address) as client:
            with pytest.raises(mcp.MCPError, match=r"[Tt]imed out"):
                await client.call_tool("never", {}, read_timeout_seconds=0.1)
            result = await client.call_tool("add", {"a": 1, "b": 2})
            assert result.structured_content == {"result": 3}

    run(address, test)


def test_progress_from_the_server(address: str) -> None:
    async def test() -> None:
        told: list[Any] = []

        async def progress(*what: Any) -> None:
            told.append(what)

        async with client_of(address) as client:
            await client.call_tool("ask", {}, progress_callback=progress)
        assert told == [(1, 2, "half")]

    run(address, test)


def test_a_server_that_is_not_there(address: str) -> None:
    async def main() -> None:
        async with mcp.Client(connect(address)):
            pass

    with pytest.raises(FileNotFoundError):
        asyncio.run(main())


def test_the_server_goes_during_a_call(address: str) -> None:
    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(serving(address))
            async with client_of(address) as client:
                call = asyncio.ensure_future(client.call_tool("never", {}))
                await client.call_tool("add", {"a": 1, "b": 2})
                await stack.aclose()
                with pytest.raises(mcp.MCPError):
                    await asyncio.wait_for(call, PATIENCE)

    asyncio.run(main())


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b"\xff\n", b"{}\n"])
def test_a_line_that_is_no_mcp_hurts_nobody(address: str, line: bytes) -> None:
    async def test() -> None:
        _, writer = await npipe.aio.open_connection(address, wait=True, connect_timeout=PATIENCE)
        writer.write(line)
        async with client_of(address) as client:
            result = await client.call_tool("add", {"a": 1, "b": 2})
            assert result.structured_content == {"result": 3}
        writer.close()

    run(address, test)


def test_a_line_that_is_too_long_ends_its_session(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("npipe.integrations.mcp.LIMIT", 1000)

    async def test() -> None:
        reader, writer = await npipe.aio.open_connection(
            address, wait=True, connect_timeout=PATIENCE
        )
        writer.write(b"x" * 5000)
        assert await reader.read() == b""
        writer.close()

    with caplog.at_level(logging.WARNING, "npipe.integrations.mcp"):
        run(address, test)
    assert "a session ends" in caplog.text


def test_npipe_rpc_as_the_client(address: str) -> None:
    rpc = pytest.importorskip("npipe.rpc.aio")

    async def test() -> None:
        async with client_of(address):  # which waits until it is served
            pass
        async with await rpc.connect(address, codec="ndjson") as client:
            info = {"name": "npipe", "version": "1"}
            asked = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
            answer = await client.call("initialize", named=asked)
            assert answer["serverInfo"]["name"] == "demo"
            await client.notify("notifications/initialized")
            add = {"name": "add", "arguments": {"a": 4, "b": 5}}
            assert (await client.call("tools/call", named=add))["content"][0]["text"] == "9"

    run(address, test)


def test_streamable_http_by_httpx_and_uvicorn(address: str, me: str) -> None:
    """The SDK's own HTTP transport, whose bytes go over a pipe; it checks the Host header."""
    httpx2 = pytest.importorskip("httpx2")
    uvicorn = pytest.importorskip("uvicorn")
    from mcp.client.streamable_http import streamable_http_client

    from npipe.integrations.httpx2 import AsyncTransport
    from npipe.integrations.uvicorn import Server

    async def main() -> None:
        app = new_server().streamable_http_app()
        server = Server(address, uvicorn.Config(app, log_level="warning"))
        running = asyncio.ensure_future(server.serve())
        transport = AsyncTransport(address, wait=True)
        async with httpx2.AsyncClient(transport=transport, timeout=PATIENCE) as http:
            pipe = streamable_http_client("http://localhost:8000/mcp", http_client=http)
            async with mcp.Client(pipe) as client:
                result = await client.call_tool("add", {"a": 1, "b": 2})
                assert result.structured_content == {"result": 3}
        server.should_exit = True
        await running

    asyncio.run(main())


def test_the_private_name_that_is_used_exists() -> None:
    assert callable(MCPServer("x")._lowlevel_server.run)

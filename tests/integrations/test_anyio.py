"""Pipes as anyio's streams, on trio and on asyncio, also on a loop that cannot wait for pipes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

import npipe
from integrations.conftest import PATIENCE, WINDOWS, identity

anyio = pytest.importorskip("anyio")
from npipe.integrations.anyio import PipeStream, connect, listen  # noqa: E402

BACKENDS: list[Any] = [
    pytest.param(("asyncio", {}), id="asyncio"),
    pytest.param(("asyncio", {"loop_factory": asyncio.SelectorEventLoop}), id="selector"),
    pytest.param(("trio", {}), id="trio"),
]
Run = Callable[..., None]


@pytest.fixture(params=BACKENDS)
def run(request: pytest.FixtureRequest) -> Run:
    name, options = request.param
    pytest.importorskip(name)
    if WINDOWS and name == "trio":
        try:
            anyio.run(anyio.sleep, 0, backend="trio")
        except OSError as error:
            pytest.skip(f"trio does not start on this Windows: {error}")  # Wine 8

    def run(test: Callable[[], Any]) -> None:
        async def bounded() -> None:
            with anyio.fail_after(PATIENCE):
                await test()

        anyio.run(bounded, backend=name, backend_options=options)

    return run


async def echo(stream: PipeStream) -> None:
    try:
        async for data in stream:
            await stream.send(data)
    except anyio.BrokenResourceError:
        pass


def with_echo(address: str, test: Callable[[PipeStream], Any]) -> Callable[[], Any]:
    async def main() -> None:
        async with await listen(address) as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, echo)
            async with await connect(address, connect_timeout=PATIENCE) as stream:
                await test(stream)
            tasks.cancel_scope.cancel()

    return main


def test_bytes_come_and_go(address: str, run: Run, both: tuple[str, str]) -> None:
    async def test(stream: PipeStream) -> None:
        await stream.send(b"hello")
        assert await stream.receive() == b"hello"
        large, received = b"x" * 1_000_000, 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.send, large)
            while received < len(large):
                received += len(await stream.receive())
        assert identity(stream.peer) == both[1]
        assert stream.extra(anyio.abc.SocketAttribute.remote_address) == address

    run(with_echo(address, test))


def test_the_end(address: str, run: Run) -> None:
    async def main() -> None:
        async with await listen(address) as listener:
            stream = await connect(address, connect_timeout=PATIENCE)
            async with await listener.accept() as server:
                await server.send(b"last")
            assert await stream.receive(2) == b"la"
            assert await stream.receive(2) == b"st"
            for _ in range(2):
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
            await stream.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await stream.receive()
        with pytest.raises(anyio.ClosedResourceError):
            await listener.accept()

    run(main)


def test_cancelled_receives_lose_no_byte(address: str, run: Run) -> None:
    async def test(stream: PipeStream) -> None:
        sent = received = b""
        for number in range(60):
            part = b"%05d" % number
            sent += part
            await stream.send(part)
            with anyio.move_on_after(0.0003 * (number % 4)):
                received += await stream.receive()
        while len(received) < len(sent):
            received += await stream.receive()
        assert received == sent

    run(with_echo(address, test))


def test_a_cancelled_receive_ends_soon_and_leaves_the_stream_usable(address: str, run: Run) -> None:
    async def test(stream: PipeStream) -> None:
        for _ in range(20):
            with anyio.move_on_after(0.001) as scope:
                await stream.receive()
            assert scope.cancelled_caught
        await stream.send(b"x")
        assert await stream.receive() == b"x"

    run(with_echo(address, test))


def test_two_receives_at_a_time_are_refused(address: str, run: Run) -> None:
    async def test(stream: PipeStream) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.receive)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await stream.receive()
            await stream.send(b"x")

    run(with_echo(address, test))


def test_a_cancelled_send(address: str, run: Run) -> None:
    async def main() -> None:
        async with await listen(address) as listener:
            stream = await connect(address, connect_timeout=PATIENCE)
            async with stream, await listener.accept():
                with anyio.move_on_after(0.1) as scope:
                    await stream.send(b"x" * 10_000_000)
                assert scope.cancelled_caught

    run(main)


@pytest.mark.skipif(WINDOWS, reason="a Windows pipe of bytes has no half-close")
def test_a_half_close(address: str, run: Run) -> None:
    async def test(stream: PipeStream) -> None:
        await stream.send(b"x")
        assert await stream.receive() == b"x"
        await stream.send_eof()
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()

    run(with_echo(address, test))


def test_the_peer_goes(address: str, run: Run) -> None:
    async def main() -> None:
        async with (
            await listen(address) as listener,
            await connect(address, connect_timeout=PATIENCE) as stream,
        ):
            await (await listener.accept()).aclose()
            with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
                for _ in range(100):
                    await stream.send(b"x" * 100_000)

    run(main)


def test_connecting(address: str, run: Run) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await connect(address)
        with pytest.raises(TimeoutError):
            await connect(address, wait=True, connect_timeout=0.05)
        with anyio.move_on_after(0.05) as scope:
            await connect(address, wait=True, connect_timeout=math.inf)
        assert scope.cancelled_caught
        with npipe.listen(address), pytest.raises(OSError):
            await listen(address)

    run(main)


def test_a_cancelled_accept(address: str, run: Run) -> None:
    async def main() -> None:
        async with await listen(address) as listener:
            for _ in range(5):
                with anyio.move_on_after(0.005) as scope:
                    await listener.accept()
                assert scope.cancelled_caught
            async with await connect(address, connect_timeout=PATIENCE) as stream:
                server = await listener.accept()
                await stream.send(b"x")
                assert await server.receive() == b"x"
                await server.aclose()

    run(main)


def test_more_streams_than_worker_threads(address: str, run: Run) -> None:
    """40 receives that wait would use up anyio's common limit, and deadlock all others."""

    async def main() -> None:
        async with await listen(address) as listener, anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, echo)
            streams = [await connect(address, connect_timeout=PATIENCE) for _ in range(50)]
            async with anyio.create_task_group() as receiving:
                for stream in streams:
                    receiving.start_soon(stream.receive)
                for stream in streams:
                    await stream.send(b"x")
            for stream in streams:
                await stream.aclose()
            tasks.cancel_scope.cancel()

    run(main)

"""Steps of tools/windows_check.py under load: many threads, large writes, clients that left."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Callable
from ctypes import wintypes
from typing import Any, Final

from npipe.address import parse
from npipe.transport.windows import connect as windows
from windows_steps.raw import BYTES, MESSAGES, Pipe
from windows_steps.report import (
    Skipped,
    fact,
    is_fake,
    is_wine,
    kernel,
    new_address,
    new_name,
    note,
    require_kernel,
)

__all__ = ["STEPS"]

WORKERS: Final = 8
SIZES: Final = (1, 16, 64, 256, 512)  # MiB of one write


def handle_count() -> int:
    """Return how many handles this process has open."""
    if is_fake() or sys.platform != "win32":
        return int(getattr(kernel(), "ledger")["handles"])  # noqa: B009  # the fake kernel's
    count = wintypes.DWORD()
    process = wintypes.HANDLE(-1)  # the pseudo handle of GetCurrentProcess
    ctypes.WinDLL("kernel32").GetProcessHandleCount(process, ctypes.byref(count))
    return count.value


def threads() -> None:
    """W8: accepts from ever new threads, clients come and go; neither a spin nor a leak."""
    seconds = 3 if is_fake() or is_wine() else 60
    rounds = [0] * WORKERS

    def work(worker: int) -> None:
        while time.monotonic() < end:
            thread = threading.Thread(target=_accept_once, args=(listener,))
            thread.start()
            if rounds[worker] % 3 == 0:
                with contextlib.suppress(OSError):
                    windows.connect(listener.address, timeout=5, api=kernel()).close()
            thread.join()
            rounds[worker] += 1

    def run() -> float:
        used = time.process_time()
        workers = [threading.Thread(target=work, args=(worker,)) for worker in range(WORKERS)]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
        return time.process_time() - used

    with windows.listen(new_address(), api=kernel()) as listener:
        end = time.monotonic() + 1  # what the first accepts make stays
        run()
        before, end = handle_count(), time.monotonic() + seconds
        used = run()
        left = handle_count() - before
    note(f"{sum(rounds)} rounds, {used:.1f} s of processor time in {seconds} s")
    fact("more than ten handles are left behind", False, left > 10)


def idle() -> None:
    """W8: a listener whose threads ended, and which nothing connects to, uses no processor time."""
    with windows.listen(new_address(), api=kernel()) as listener:
        for _ in range(20):
            thread = threading.Thread(target=_accept_once, args=(listener,))
            thread.start()
            thread.join()
        used = time.process_time()
        with contextlib.suppress(TimeoutError):
            listener.accept(3)
        fact("a second of processor time in three", False, time.process_time() - used > 1)


def _accept_once(listener: Any) -> None:
    with contextlib.suppress(TimeoutError):
        listener.accept(0.01).close()


def large() -> None:
    """W10: the largest write that one call takes, of bytes and of messages."""
    for megabytes in SIZES:
        for what, mode in (("bytes", BYTES), ("a message", MESSAGES)):
            with Pipe(kernel(), mode=mode) as pipe:
                pipe.server()
                code = pipe.write(pipe.client(), bytes(megabytes << 20)).code
                taken = megabytes <= 64
                fact(f"one WriteFile of {megabytes} MiB, {what}, is taken", taken, code in (0, 997))
                note(f"code {code}")


def large_asyncio() -> None:
    """W10: npipe.aio writes much at once; the other end reads it all."""
    require_kernel("it has no event loop of Windows")
    most = 64 if is_wine() else SIZES[-1]
    if sys.platform == "win32":
        for megabytes in SIZES:
            if megabytes <= most:
                seen = asyncio.run(_write_much(megabytes << 20))
                fact(f"bytes that came of {megabytes} MiB", megabytes << 20, seen)


async def _write_much(size: int) -> int:
    import npipe.aio

    name = new_name()
    came: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        total = 0
        while data := await reader.read(1 << 20):
            total += len(data)
        writer.close()
        came.set_result(total)

    async with await npipe.aio.start_server(count, name):
        _, writer = await npipe.aio.open_connection(name, connect_timeout=10)
        writer.write(bytes(size))
        await writer.drain()
        writer.close()
        return await came


def left_early() -> None:
    """W6: what a client wrote before it left, and before the asyncio server served, is served."""
    require_kernel("it has no event loop of Windows")
    if sys.platform != "win32":
        raise Skipped("asyncio has its Proactor on Windows only")
    fact("bytes of a client that left before it was served", b"x", asyncio.run(_serve_late()))


async def _serve_late() -> bytes:
    import npipe.aio

    name = new_name()
    came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set_result(await reader.read())
        writer.close()

    async with await npipe.aio.start_server(read, name, start_serving=False) as server:
        with windows.connect(parse(name)) as client:
            client.write(b"x")
        await server.start_serving()
        async with asyncio.timeout(10):
            return await came


STEPS: Final[tuple[Callable[[], None], ...]] = (threads, idle, large, large_asyncio, left_early)

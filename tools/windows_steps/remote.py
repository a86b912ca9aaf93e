r"""Steps of tools/windows_check.py with pipes of other computers.

\\localhost\pipe\x is one: Windows opens it by way of its Server service (LanmanServer).
"""

from __future__ import annotations

import asyncio
import contextlib
import platform
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

from npipe.address import Address, parse
from npipe.transport.windows import connect as windows
from npipe.transport.windows.kernel32 import load
from windows_steps.raw import CLIENT_ACCESS
from windows_steps.report import Skipped, fact, note, require_kernel

__all__ = ["STEPS"]

OVERLAPPED: Final = 0x40000000
ABSENT: Final = ("192.0.2.1", "no-such-host-npipe")  # RFC 5737: an address of no computer


def _addresses(host: str) -> tuple[Address, Address]:
    """Return a new pipe as it is named here, and as one of a computer."""
    name = f"npipe-check-{uuid.uuid4()}"
    return parse(r"\\.\pipe" + "\\" + name), Address("pipe", rf"\\{host}\pipe" + "\\" + name, host)


def remote() -> None:
    r"""W2, W12: \\localhost\pipe\x: who is refused, how much one write takes, who the client is."""
    require_kernel("it has one computer")
    with contextlib.suppress(OSError):
        subprocess.run(["net", "start", "LanmanServer"], capture_output=True, check=False)
    for host in ("localhost", "127.0.0.1", platform.node()):
        here, far = _addresses(host)
        with windows.listen(here):
            code, _ = load().CreateFile(far.path, CLIENT_ACCESS, OVERLAPPED)
            fact(f"code of a client that is refused at {host}", 5, code)
        for message_mode in (False, True):
            here, far = _addresses(host)
            with windows.listen(here, reject_remote=False, message_mode=message_mode) as listener:
                try:
                    client = windows.connect(far, timeout=20)
                except OSError as error:
                    note(f"no remote pipes at {host}: {error}")
                    break
                with client, listener.accept(10) as server:
                    _identity(client, server)
                    _writes(client, server)


def _identity(client: Any, server: Any) -> None:
    user = load().process_sids()[1]
    fact("SID of a remote client before a read", None, server.peer.sid)
    client.write(b"x")
    server.read(1)
    fact("SID of a remote client after a read", user, server.peer.sid)
    client.set_read_deadline(time.monotonic() + 0.1)
    fact("a remote read ends at its deadline", True, _seconds(lambda: client.read(1)) < 2)
    client.set_read_deadline(None)


def _writes(client: Any, server: Any) -> None:
    drain = threading.Thread(target=lambda: [server.read(65536) for _ in range(40)], daemon=True)
    drain.start()
    for size in (65535, 65536, 1 << 20):
        code, count = client._writer.transfer(load().WriteFile, bytes(size), size)
        fact(f"one WriteFile of {size} bytes across the network", size <= 65535, code == 0)
        note(f"code {code}, {count} bytes")
        if code:
            return


def _seconds(call: Callable[[], Any]) -> float:
    start = time.monotonic()
    with contextlib.suppress(OSError):
        call()
    return time.monotonic() - start


@contextlib.contextmanager
def _reading(host: str) -> Iterator[tuple[Any, threading.Thread, list[str]]]:
    """Yield (client, thread that reads from it, how that read ended)."""
    here, far = _addresses(host)
    with windows.listen(here, reject_remote=False) as listener:
        try:
            client = windows.connect(far, timeout=20)
        except OSError as error:
            raise Skipped(f"no remote pipes: {error}") from None
        ends: list[str] = []

        def read() -> None:
            try:
                ends.append(repr(client.read(1)))
            except (OSError, ValueError) as error:
                ends.append(type(error).__name__)

        with client, listener.accept(10):
            thread = threading.Thread(target=read, daemon=True)
            thread.start()
            thread.join(0.5)  # it waits by then
            yield client, thread, ends


def remote_ends() -> None:
    """W13, W20: a remote read ends by close, and when the Server service stops."""
    require_kernel("it has one computer")
    with _reading("localhost") as (client, thread, ends):
        client.close()
        thread.join(10)
        fact("a remote read ends by close", (False, 1), (thread.is_alive(), len(ends)))
    if not load().is_elevated():
        note("stopping the Server service needs an elevated shell")
        return
    with _reading("localhost") as (_, thread, ends):
        subprocess.run(["net", "stop", "LanmanServer", "/y"], capture_output=True, check=False)
        try:
            thread.join(60)
        finally:
            subprocess.run(["net", "start", "LanmanServer"], capture_output=True, check=False)
        fact("a read whose Server service stopped", None, ends)
        fact("it has ended", False, thread.is_alive())


def unreachable() -> None:
    """W13: how long a computer that is not there is waited for; an event loop runs meanwhile."""
    require_kernel("it has one computer")
    for host in ABSENT:
        address = Address("pipe", rf"\\{host}\pipe\x", host)
        taken = _seconds(lambda address=address: windows.connect(address, timeout=2))  # type: ignore[misc]
        fact(f"connect gives {host} up within 3 s", True, taken < 3)
        taken = _seconds(lambda address=address: windows.exists(address))  # type: ignore[misc]
        fact(f"exists gives {host} up within 11 s", True, taken < 11)
        if sys.platform == "win32":
            taken, lag = asyncio.run(_from_a_loop(address))
            fact(f"npipe.aio gives {host} up within 3 s", True, taken < 3)
            fact("the loop stood still for less than 0.2 s", True, lag < 0.2)
        note(f"{taken:.1f} s")


async def _from_a_loop(address: Address) -> tuple[float, float]:
    """Return (seconds until the connection was given up, longest pause of the loop)."""
    import npipe.aio

    longest, start = 0.0, time.monotonic()

    async def beat() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before - 0.01)

    beating = asyncio.create_task(beat())
    with contextlib.suppress(OSError):
        await npipe.aio.open_connection(address, connect_timeout=2)
    taken = time.monotonic() - start
    beating.cancel()
    return taken, longest


STEPS: Final[tuple[Callable[[], None], ...]] = (remote, remote_ends, unreachable)

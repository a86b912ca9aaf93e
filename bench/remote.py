"""The cost of a remote pipe: npipe over a real smbd on loopback, against other SMB clients.

The server is the same for all: an echo behind Samba, in a process of its own. The Unix socket is
what that server would be without Samba and SMB.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import npipe
import npipe.aio

from .harness import Table, measure
from .servers import Absent
from .transport import peer, ping_pong

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

PINGS = 500
BLOCK = b"x" * (1 << 20)
BLOCKS = 32  # in one stream
NAME = "bench"
SOCKET = "Unix socket, no Samba"


@contextmanager
def behind_samba(directory: str) -> Iterator[None]:
    command = [sys.executable, "-m", "bench.peer", "samba", f"{directory}/{NAME}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


Ends = tuple[Callable[[bytes], object], Callable[[int], bytes], Callable[[], object]]


def to_server(
    send: Callable[[bytes], object], receive: Callable[[int], bytes], blocks: int = BLOCKS
) -> float:
    """Megabytes a second that the server takes, in blocks of 1 MiB."""
    send(struct.pack("<cII", b"s", len(BLOCK), blocks))
    start = time.perf_counter()
    for _ in range(blocks):
        send(BLOCK)
    receive(1)
    return blocks * len(BLOCK) / (time.perf_counter() - start) / 1e6


def from_server(
    send: Callable[[bytes], object], receive: Callable[[int], bytes], blocks: int = BLOCKS
) -> float:
    """Megabytes a second that come from the server."""
    start = time.perf_counter()
    send(struct.pack("<cII", b"r", len(BLOCK), blocks))
    left = blocks * len(BLOCK)
    while left:
        left -= len(receive(1 << 16))
    return blocks * len(BLOCK) / (time.perf_counter() - start) / 1e6


def ping(send: Callable[[bytes], object], receive: Callable[[int], bytes]) -> float:
    return ping_pong(send, receive, 64, PINGS)


def run(connect: Callable[[], Ends], work: Callable[..., float]) -> float:
    send, receive, close = connect()
    try:
        return work(send, receive)
    finally:
        close()


def ours(address: str, **options: Any) -> Ends:
    connection = npipe.connect(address, **options)
    return connection.write, connection.read, connection.close


def smbprotocol_file(port: int, user: str, password: str) -> Ends:
    """The library's own file object, unbuffered, with a session of its own."""
    import smbclient

    cache: dict[str, Any] = {}
    file = smbclient.open_file(
        rf"\\127.0.0.1\IPC$\{NAME}",
        mode="r+b",
        buffering=0,
        file_type="pipe",
        share_access="rw",
        username=user,
        password=password,
        port=port,
        encrypt=True,
        connection_cache=cache,
    )
    buffer = memoryview(bytearray(1 << 16))

    def send(data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[file.write(view[: 1 << 16]) :]

    def receive(size: int) -> bytes:
        return bytes(buffer[: file.readinto(buffer[: min(size, 1 << 16)])])

    def close() -> None:
        file.close()
        smbclient.reset_connection_cache(connection_cache=cache)

    return send, receive, close


def impacket_file(port: int, user: str, password: str) -> Ends:
    from impacket.smbconnection import SMBConnection

    client = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=port)
    client.login(user, password)
    tree = client.connectTree("IPC$")
    file = client.openFile(tree, NAME)

    def send(data: bytes) -> None:
        for start in range(0, len(data), 1 << 16):
            client.writeFile(tree, file, data[start : start + (1 << 16)])

    def receive(size: int) -> bytes:
        got: bytes = client.readFile(tree, file, 0, size)
        return got

    return send, receive, client.close


async def on_asyncio(remote: npipe.Smb, command: bytes) -> float:
    """As ``ping``, ``to_server`` or ``from_server``: the command is ``e``, ``s`` or ``r``."""
    address = rf"\\127.0.0.1\pipe\{NAME}"
    reader, writer = await npipe.aio.open_connection(address, remote=remote, limit=1 << 20)
    count, block = (PINGS, b"p" * 64) if command == b"e" else (BLOCKS, BLOCK)
    writer.write(struct.pack("<cII", command, len(block), count))
    await writer.drain()
    start = time.perf_counter()
    for _ in range(count):
        if command != b"r":
            writer.write(block)
            await writer.drain()
        if command != b"s":
            await reader.readexactly(len(block))
    if command == b"s":
        await reader.readexactly(1)
    took = time.perf_counter() - start
    writer.close()
    await writer.wait_closed()
    return took / count * 1e6 if command == b"e" else count * len(block) / took / 1e6


def tables(rounds: int) -> Iterator[Table]:
    if not shutil.which("smbd", path="/usr/sbin:/usr/bin"):
        raise Absent("smbd is not installed")
    from peers.smbd import PASSWORD, USER, running_smbd

    with ExitStack() as stack:
        smbd = stack.enter_context(running_smbd())
        stack.enter_context(behind_samba(smbd.sockets))
        plain = stack.enter_context(peer("npipe"))
        address = rf"\\127.0.0.1\pipe\{NAME}"
        encrypted = npipe.Smb(USER, PASSWORD, port=smbd.port)
        signed = npipe.Smb(USER, PASSWORD, port=smbd.port, encrypt=False)
        who = smbd.port, USER, PASSWORD
        connects: dict[str, Callable[[], Ends]] = {
            SOCKET: lambda: ours(plain),
            "npipe, encrypted": lambda: ours(address, remote=encrypted),
            "npipe, signed": lambda: ours(address, remote=signed),
            "smbprotocol, encrypted": lambda: smbprotocol_file(*who),
            "impacket, signed": lambda: impacket_file(*who),
        }
        rate, at_least = "MB/s (more is better)", "at least 150 MB/s"
        for title, unit, work, command, goal in (
            (
                "Remote pipe: ping-pong of 64 bytes",
                "us a round trip (less is better)",
                ping,
                b"e",
                "at most 15 times a Unix socket",
            ),
            ("Remote pipe: stream to the server in 1 MiB blocks", rate, to_server, b"s", at_least),
            ("Remote pipe: stream from the server", rate, from_server, b"r", at_least),
        ):
            contestants: list[tuple[str, Callable[[], float]]] = []
            for name, connect in connects.items():
                # impacket signs in pure Python: as much as for the others would take it a minute.
                few = {"blocks": 1} if name.startswith("impacket") and work is not ping else {}
                each = functools.partial(run, connect, functools.partial(work, **few))
                contestants.append((name, each))
            contestants.append(
                (
                    "npipe.aio, encrypted",
                    lambda command=command: asyncio.run(on_asyncio(encrypted, command)),
                )
            )
            reference = SOCKET if work is ping else "smbprotocol, encrypted"
            yield measure(title, unit, contestants, reference=reference, rounds=rounds, goal=goal)

"""The peer of the transport benchmarks: ``python -m bench.peer KIND ADDRESS``.

Commands come as ``<cII``: ``e`` echoes COUNT blocks of SIZE bytes, ``s`` swallows them and answers
one byte, ``r`` sends them (streams only). A connection may send several commands. Prints a line
when it listens.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Listener as MultiprocessingListener

HEADER = struct.Struct("<cII")


def serve_stream(receive: Callable[[int], bytes], send: Callable[[bytes], object]) -> None:
    """Serve one connection of bytes until it ends."""
    while header := exactly(receive, HEADER.size):
        command, size, count = HEADER.unpack(header)
        if command == b"e":
            left = size * count
            while left and (data := receive(min(left, max(size, 1)))):
                send(data)
                left -= len(data)
        elif command == b"r":
            block = bytes(size)
            for _ in range(count):
                send(block)
        else:
            left = size * count
            while left and (data := receive(min(left, 65536))):
                left -= len(data)
            send(b"!")


def exactly(receive: Callable[[int], bytes], size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = receive(size - len(data))
        if not more:
            return b""
        data += more
    return data


def ready() -> None:
    print("ready", flush=True)


def run_samba(address: str) -> None:
    """``address`` is the directory of Samba's sockets and the name."""
    import npipe

    directory, _, name = address.rpartition("/")
    with npipe.SambaListener(name, directory=directory) as listener:
        ready()
        for conn in listener:
            threading.Thread(target=serve_stream, args=(conn.read, conn.write), daemon=True).start()


def run_socket(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(128)
        ready()
        while True:
            conn, _ = listener.accept()
            threading.Thread(
                target=serve_stream, args=(conn.recv, conn.sendall), daemon=True
            ).start()


def run_npipe(address: str) -> None:
    import npipe

    with npipe.listen(address) as listener:
        ready()
        for conn in listener:
            threading.Thread(target=serve_stream, args=(conn.read, conn.write), daemon=True).start()


def run_multiprocessing(address: str) -> None:
    def serve(conn) -> None:  # type: ignore[no-untyped-def]
        try:
            while True:
                command, _size, count = HEADER.unpack(conn.recv_bytes())
                for _ in range(count):
                    data = conn.recv_bytes()
                    if command == b"e":
                        conn.send_bytes(data)
                if command == b"s":
                    conn.send_bytes(b"!")
        except EOFError:
            conn.close()

    with MultiprocessingListener(address, None if sys.platform == "win32" else "AF_UNIX") as lis:
        ready()
        while True:
            threading.Thread(target=serve, args=(lis.accept(),), daemon=True).start()


def run_asyncio(address: str) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                command, size, count = HEADER.unpack(await reader.readexactly(HEADER.size))
                for _ in range(count):
                    data = await reader.readexactly(size)
                    if command == b"e":
                        writer.write(data)
                        await writer.drain()
                if command == b"s":
                    writer.write(b"!")
        except asyncio.IncompleteReadError:
            writer.close()

    def protocol() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(limit=1 << 20), client)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        if sys.platform == "win32":
            server = await loop.start_serving_pipe(protocol, address)
        else:
            server = await loop.create_unix_server(protocol, address)
        ready()
        await asyncio.Event().wait()
        del server

    asyncio.run(main())


if __name__ == "__main__":
    {
        "socket": run_socket,
        "npipe": run_npipe,
        "multiprocessing": run_multiprocessing,
        "asyncio": run_asyncio,
        "samba": run_samba,
    }[sys.argv[1]](sys.argv[2])

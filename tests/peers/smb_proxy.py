"""A man in the middle: carries SMB frames on loopback, and may change or drop each."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

__all__ = ["Change", "command_of", "proxy"]

Change = Callable[[bytes], bytes | None]
"""Is given a reply of the server; returns what the client gets instead. None: nothing."""


def command_of(frame: bytes) -> int | None:
    """Return the command of a plaintext frame."""
    return struct.unpack_from("<H", frame, 12)[0] if frame[:4] == b"\xfeSMB" else None


@contextlib.contextmanager
def proxy(port: int, change: Change) -> Iterator[int]:
    """Listen for clients of the server at ``port``; yield the port to connect to instead."""
    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as closing:

        def accept() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                server = socket.create_connection(("127.0.0.1", port))
                for sock in (client, server):
                    closing.callback(_end, sock)
                start(_carry, client, server, lambda frame: frame)
                start(_carry, server, client, change)

        def start(function: Callable[..., None], *args: object) -> None:
            thread = threading.Thread(target=function, args=args)
            thread.start()
            threads.append(thread)

        threads: list[threading.Thread] = []
        start(accept)
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            threads[0].join()
            closing.close()
            for thread in threads:
                thread.join()


def _carry(source: socket.socket, target: socket.socket, change: Change) -> None:
    with contextlib.suppress(OSError, EOFError):
        while True:
            size = int.from_bytes(_exactly(source, 4), "big")
            frame = change(_exactly(source, size))
            if frame is not None:
                target.sendall(len(frame).to_bytes(4, "big") + frame)
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _end(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()

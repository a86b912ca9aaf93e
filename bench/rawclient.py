"""The raw JSON-RPC client of the benchmarks: the same few lines against every server.

It writes prepared bytes and counts newlines, so that what is measured is the server. Each
function returns calls per second.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from typing import Any


def dial(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60)
    sock.connect(address)
    return sock


def request(method: str, number: int = 1, params: str = "[]") -> bytes:
    text = f'{{"jsonrpc":"2.0","id":{number},"method":"{method}","params":{params}}}\n'
    return text.encode()


def _line(sock: socket.socket) -> bytes:
    data = sock.recv(65536)
    while not data.endswith(b"\n"):
        more = sock.recv(1 << 20)
        if not more:
            raise ConnectionError("the server closed the connection")
        data += more
    return data


def check(address: str, method: str) -> None:
    """Fail now, rather than measure how quickly a server says no."""
    with dial(address) as sock:
        sock.sendall(request(method))
        reply = _line(sock)
        if b'"error"' in reply:
            raise RuntimeError(f"{method}: {reply!r}")


def ask(address: str, method: str) -> Any:
    """The result of one call."""
    with dial(address) as sock:
        sock.sendall(request(method))
        return json.loads(_line(sock))["result"]


def sequential(address: str, method: str, count: int, params: str = "[]") -> float:
    """Calls a second. Fails where one is answered with an error."""
    data = request(method, params=params)
    with dial(address) as sock:
        start = time.perf_counter()
        for _ in range(count):
            sock.sendall(data)
            reply = _line(sock)
        took = time.perf_counter() - start
    if b'"error"' in reply:
        raise RuntimeError(f"{method}: {reply!r}")
    return count / took


def in_flight(address: str, method: str, count: int, window: int = 64) -> float:
    """Keep this many calls unanswered on one connection."""
    data = request(method)
    with dial(address) as sock:
        start = time.perf_counter()
        sent = done = 0
        while done < count:
            more = min(window - (sent - done), count - sent)
            if more:
                sock.sendall(data * more)
                sent += more
            done += sock.recv(1 << 18).count(b"\n")
        return count / (time.perf_counter() - start)


def batches(address: str, method: str, count: int, size: int = 100) -> float:
    data = b"[" + b",".join(request(method, n).strip() for n in range(size)) + b"]\n"
    with dial(address) as sock:
        start = time.perf_counter()
        for _ in range(count // size):
            sock.sendall(data)
            _line(sock)
        return count / (time.perf_counter() - start)


def connections(address: str, method: str, count: int, clients: int = 32) -> float:
    """One call at a time on each of many connections, driven by one thread."""
    data = request(method)
    with selectors.DefaultSelector() as selector:
        socks = [dial(address) for _ in range(clients)]
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ)
        start = time.perf_counter()
        for sock in socks:
            sock.sendall(data)
        sent, done = clients, 0
        while done < count:
            for key, _ in selector.select():
                sock = key.fileobj  # type: ignore[assignment]
                if sock.recv(65536).endswith(b"\n"):
                    done += 1
                    if sent < count:
                        sock.sendall(data)
                        sent += 1
        took = time.perf_counter() - start
        for sock in socks:
            sock.close()
        return count / took

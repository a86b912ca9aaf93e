"""``python -m bench.attacks NAME ADDRESS``: a hostile client of a server, until it is killed.

Prints a line when the attack has begun. ``bench.hostile`` measures what others notice of it.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import resource
import selectors
import socket
import sys
import time
from collections.abc import Callable

from . import rawclient
from .load import dial

CHUNK = 1 << 18


def flood(address: str) -> None:
    """Call without a pause on eight connections, and read the replies."""
    _write_for_ever(address, 8, rawclient.request("echo_inline", 1, '["x"]') * 1000)


def batches(address: str) -> None:
    """Send batches of 1,000 calls without a pause on four connections, and read the replies."""
    item = rawclient.request("echo_plain", 1, '["x"]').strip()
    _write_for_ever(address, 4, b"[" + b",".join([item] * 1000) + b"]\n")


def large(address: str) -> None:
    """Send messages of 8 MB without a pause on four connections, and read the replies."""
    _write_for_ever(address, 4, rawclient.request("echo_inline", 1, f'["{"x" * 8_000_000}"]'))


def unread(address: str) -> None:
    """Call without reading any reply on 50 connections; call anew when the server cuts one."""
    data = rawclient.request("echo_inline", 1, f'["{"x" * 1000}"]') * 1000
    _write_for_ever(address, 50, data, reads=False)


def items(address: str) -> None:
    """Subscribe to an endless generator on four connections, and read the items."""
    subscribe = rawclient.request("hostile_subscribe", 1, '["endless"]')
    socks = [dial(address) for _ in range(4)]
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            sock.sendall(subscribe)
            selector.register(sock, selectors.EVENT_READ)
        _begun()
        while True:
            for key, _ in selector.select():
                key.fileobj.recv(CHUNK)  # type: ignore[union-attr]


def garbage(address: str) -> None:
    """Make a call, send random bytes behind it, and connect anew."""
    chance = random.Random(1)
    data = rawclient.request("echo_inline", 1, '["x"]')
    _begun()
    while True:
        with dial(address) as sock, contextlib.suppress(OSError):
            sock.sendall(data + chance.randbytes(10_000))
            while sock.recv(CHUNK):
                pass


def halves(address: str) -> None:
    """Send half a message on 300 connections, and then one more byte a millisecond."""
    socks = [dial(address) for _ in range(300)]
    for sock in socks:
        sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"echo_inline","params":["')
    _begun()
    for sock in itertools.cycle(socks):
        sock.sendall(b"x")
        time.sleep(0.001)


def killed(address: str) -> None:
    """Begin ten calls of a function that takes long, go, and connect anew."""
    data = rawclient.request("echo_slow", 1, '["x"]') * 10
    _begun()
    while True:
        with dial(address) as sock:
            sock.sendall(data)


def connects(address: str) -> None:
    """Connect 2,000 times at once, make a call on each, leave, and begin anew."""
    data = rawclient.request("echo_inline", 1, '["x"]')
    _begun()
    while True:
        with contextlib.ExitStack() as stack:
            for sock in [stack.enter_context(dial(address)) for _ in range(2000)]:
                sock.sendall(data)


def descriptors(address: str) -> None:
    """Keep 2,000 connections, many more than the server has descriptors for."""
    data = rawclient.request("echo_inline", 1, '["x"]')
    socks = [dial(address) for _ in range(2000)]
    for sock in socks:
        sock.sendall(data)
    _begun()
    while True:
        time.sleep(60)


def blocking(address: str) -> None:
    """Call a function that blocks for minutes, 256 times on one connection."""
    sock = dial(address)
    sock.sendall(rawclient.request("hostile_block") * 256)
    _begun()
    while True:
        time.sleep(60)


def forking(address: str) -> None:
    """Call a function that runs a program, four times at once."""
    _write_for_ever(address, 4, rawclient.request("hostile_fork"), most=1)


ATTACKS: dict[str, Callable[[str], None]] = {
    attack.__name__: attack
    for attack in (
        *(flood, batches, large, unread, items, garbage, halves, killed, connects),
        *(descriptors, blocking, forking),
    )
}


def _begun() -> None:
    print("begun", flush=True)


def _write_for_ever(
    address: str, number: int, data: bytes, *, reads: bool = True, most: int = 0
) -> None:
    """Write the same bytes again and again.

    Args:
        address: The socket of the server.
        number: The number of connections.
        data: Whole messages.
        reads: Whether to read the replies.
        most: The largest number of copies without a reply; 0 for no limit.
    """
    events = selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0)
    with selectors.DefaultSelector() as selector:

        def connect() -> None:
            sock = dial(address)
            sock.setblocking(False)
            selector.register(sock, events, [b"", 0])

        for _ in range(number):
            connect()
        _begun()
        while True:
            for key, event in selector.select():
                sock: socket.socket = key.fileobj  # type: ignore[assignment]
                state = key.data
                try:
                    if event & selectors.EVENT_READ:
                        state[1] -= sock.recv(CHUNK).count(b"\n")
                    if event & selectors.EVENT_WRITE and not (most and state[1] >= most):
                        state[0] = state[0] or data
                        sent = sock.send(state[0][:CHUNK])
                        state[0] = state[0][sent:]
                        state[1] += not state[0]
                    elif most:
                        waits = state[1] >= most
                        selector.modify(sock, selectors.EVENT_READ if waits else events, state)
                except BlockingIOError:
                    pass
                except OSError:
                    selector.unregister(sock)
                    sock.close()
                    connect()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ATTACKS[sys.argv[1]](sys.argv[2])

"""Signal handlers that stop a server or close a client, at every line of what they interrupt.

A handler runs in the thread that it interrupts, between two of its lines. So each line of ``outer``
is followed once by ``inner``, in the same thread: a lock that is not reentrant would never be free.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

import npipe
from npipe import rpc

SECONDS = 60
FILES = ("/npipe/", "/threading.py", "/queue.py")


def run_at(line: int, outer: Callable[[], object], inner: Callable[[], object]) -> bool:
    """Run ``outer`` in a thread, and ``inner`` at one of its lines; False if it has fewer lines."""
    left, ended, errors = line, False, []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left, ended
        name = frame.f_code.co_filename.replace("\\", "/")
        if not any(each in name for each in FILES):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                inner()
        return trace

    def run() -> None:
        nonlocal ended
        sys.settrace(trace)
        try:
            outer()
        except (npipe.ClosedError, rpc.ConnectionLost):  # what the handler has done to it
            pass
        except BaseException as error:
            errors.append(error)
        finally:
            sys.settrace(None)
        ended = True

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert ended, f"it hangs when the handler runs at line event {line}"
    assert not errors, f"the handler ran at line event {line}"
    return left <= 0


@pytest.fixture
def api() -> rpc.API:
    async def awaited() -> int:
        return 2

    api = rpc.API()
    api.register("t", {"plain": lambda: 1, "awaited": awaited})
    return api


@pytest.fixture
def pair(api: rpc.API, address: str) -> Callable[[], tuple[rpc.Server, rpc.Client]]:
    """Make a server and a client whose threads, and the loop of async functions, all run."""

    def make() -> tuple[rpc.Server, rpc.Client]:
        server = rpc.Server(api)
        server.serve(address)
        client = rpc.connect(address)
        assert (client.call("t_plain"), client.call("t_awaited")) == (1, 2)
        return server, client

    return make


def lines(step: int = 1) -> Iterator[int]:
    """Return the lines to interrupt."""
    return iter(range(1, 10_000, step))


@pytest.mark.parametrize(
    ("outer", "inner", "step"),
    [
        ("server.stop", "server.stop", 1),
        ("server.stop", "client.close", 5),
        ("client.close", "client.close", 1),
        ("client.call", "client.close", 2),
        ("client.call", "server.stop", 5),
    ],
)
def test_a_handler_neither_hangs_nor_breaks_what_it_interrupts(
    pair: Callable[[], tuple[rpc.Server, rpc.Client]], outer: str, inner: str, step: int
) -> None:
    for line in lines(step):
        server, client = pair()
        functions: dict[str, Callable[[], object]] = {
            "server.stop": server.stop,
            "client.close": client.close,
            "client.call": lambda client=client: client.call("t_plain"),  # type: ignore[misc]
        }
        hit = run_at(line, functions[outer], functions[inner])
        client.close()
        server.stop()
        assert server.stats()["connections"]["total"] == 1
        if not hit:
            return


def test_a_handler_may_stop_a_server_that_begins_to_serve(api: rpc.API, address: str) -> None:
    for line in lines(5):
        server = rpc.Server(api)
        hit = run_at(line, lambda server=server: server.serve(address), server.stop)  # type: ignore[misc]
        server.stop()
        assert server.addresses == []
        if not hit:
            return

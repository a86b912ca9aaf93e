"""Helpers for tests: a conformance suite for connections, and a pair of connections in memory.

``check_connection(make_pair)`` checks a class against the contract of ``npipe.Connection``. With
pytest, run each case as a separate test::

    @pytest.mark.parametrize("case", npipe.testing.CASES, ids=lambda case: case.__name__)
    def test_my_connection(case):
        npipe.testing.check_case(case, make_pair)

``make_pair()`` returns two connected ends and a function that ends both of them, also during a
call. The cases are in ``net_conn.py``, ``edge_cases.py`` and ``buffer_cases.py``.
``memory_pair()`` makes two connected ends in memory. ``recorded(address, tape)`` replaces a server
by a recording of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from npipe.testing.buffer_cases import BUFFER_CASES
from npipe.testing.edge_cases import PITFALL_CASES
from npipe.testing.net_conn import NET_CONN_CASES
from npipe.transport.memory import memory_pair

if TYPE_CHECKING:
    import os

    from npipe.transport.base import Connection

__all__ = [
    "CASES",
    "Case",
    "MakePair",
    "check_case",
    "check_connection",
    "memory_pair",
    "recorded",
]

Case = Callable[["Connection", "Connection"], None]
CASES: tuple[Case, ...] = NET_CONN_CASES + PITFALL_CASES + BUFFER_CASES
MakePair = Callable[[], "tuple[Connection, Connection, Callable[[], None]]"]


def check_connection(
    make_pair: MakePair, *, cases: Iterable[Case] = CASES, time_limit: float = 60.0
) -> None:
    """Run each case on a new pair; stop at the first failure.

    Args:
        make_pair: Function that returns two connected ends and a function that ends both.
        cases: The cases to run.
        time_limit: Seconds for each case.

    Raises:
        AssertionError: A case failed; see ``check_case`` for other errors.
    """
    for case in cases:
        check_case(case, make_pair, time_limit=time_limit)


def check_case(case: Case, make_pair: MakePair, *, time_limit: float = 60.0) -> None:
    """Run one case on a new pair of connections.

    Args:
        case: A function of ``CASES``. Its docstring states the required behaviour.
        make_pair: Function that returns two connected ends and a function that ends both.
        time_limit: Seconds after which the case is stopped by that function.

    Raises:
        AssertionError: The connection does not behave as required, or the time limit has passed.
        Exception: The error of a call that should have succeeded.
    """
    c1, c2, stop = make_pair()
    expired = threading.Event()  # set before the case can notice that it was stopped

    def expire() -> None:
        expired.set()
        stop()

    watchdog = threading.Timer(time_limit, expire)
    watchdog.daemon = True
    watchdog.start()
    try:
        case(c1, c2)
        assert not expired.is_set(), f"{case.__name__} was stopped after {time_limit} s"
    except BaseException as error:
        if expired.is_set():
            error.add_note(f"{case.__name__} was stopped after {time_limit} s")
        raise
    finally:
        watchdog.cancel()
        stop()
        watchdog.join()


def recorded(
    target: str, tape: str | os.PathLike[str], *, connect_timeout: float | None = 10.0
) -> AbstractContextManager[str]:
    """Replace the JSON-RPC server at ``target`` by a recording; record it if there is none.

    ::

        with npipe.testing.recorded("./node.ipc", "tapes/blocks.jsonl") as address:
            client = rpc.connect(address)

    The first run needs the server: the messages of both directions are recorded, and the file is
    kept if the block ends without an error. Every later run needs only the file and replies from
    it. Remove the file to record again. This function needs the extra "rpc".

    Args:
        target: The address of the server.
        tape: The path of the file with the recording.
        connect_timeout: Seconds to wait for the server to accept, when recording.

    Returns:
        A context manager, whose value is the address to connect to.

    Raises:
        ValueError: The file is not a recording, or is damaged.
        OSError: There is neither a file nor a server.
    """
    from pathlib import Path

    from npipe.testing.recording import play, record

    path = Path(tape)
    return play(path) if path.exists() else record(target, path, connect_timeout)

"""For tests, yours and ours: a conformance suite for connections, and a pair that needs no system.

``check_connection(make_pair)`` says whether a class of yours keeps the contract of
``npipe.Connection``. With pytest, give each case a test of its own::

    @pytest.mark.parametrize("case", npipe.testing.CASES, ids=lambda case: case.__name__)
    def test_my_connection(case):
        npipe.testing.check_case(case, make_pair)

``make_pair()`` returns two connected ends and a function that ends both of them whatever they are
doing. The cases are in ``net_conn.py`` and ``pitfalls.py``, the pair of ``memory_pair()``
in ``memory.py``. ``recorded(address, tape)`` stands in for a server that was recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

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
CASES: tuple[Case, ...] = NET_CONN_CASES + PITFALL_CASES
MakePair = Callable[[], "tuple[Connection, Connection, Callable[[], None]]"]


def check_connection(
    make_pair: MakePair, *, cases: Iterable[Case] = CASES, time_limit: float = 60.0
) -> None:
    """Run every case on a pair of its own. Raises what ``check_case`` raises, at the first."""
    for case in cases:
        check_case(case, make_pair, time_limit=time_limit)


def check_case(case: Case, make_pair: MakePair, *, time_limit: float = 60.0) -> None:
    """Run one case on a new pair; end it by ``stop()`` after ``time_limit`` seconds.

    Raises AssertionError, or the error that a call should not have raised; the case's docstring
    says what is wanted.
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
    """Stand in for the JSON-RPC server at ``target`` with a tape; record it if it is missing.

    ::

        with npipe.testing.recorded("./node.ipc", "tapes/blocks.jsonl") as address:
            client = rpc.connect(address)

    The first run needs the server: what passes is recorded, and the file is kept if the block ends
    without an error. Every other run needs only the file, and answers as the tape has it. Remove
    the file to record again. Needs the extra "rpc".

    Args:
        target: The address of the server.
        tape: The file.
        connect_timeout: Seconds to wait for the server to accept, when recording.

    Returns:
        A context manager, whose value is the address to connect to.

    Raises:
        ValueError: The file is no tape, or is damaged.
        OSError: There is no tape, and no server either.
    """
    from pathlib import Path

    from npipe.testing.recording import play, record

    path = Path(tape)
    return play(path) if path.exists() else record(target, path, connect_timeout)

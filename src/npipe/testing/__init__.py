"""For tests, yours and ours: a conformance suite for connections, and a pair that needs no system.

``check_connection(make_pair)`` says whether a class of yours keeps the contract of
``npipe.Connection``. With pytest, give each case a test of its own::

    @pytest.mark.parametrize("case", npipe.testing.CASES, ids=lambda case: case.__name__)
    def test_my_connection(case):
        npipe.testing.check_case(case, make_pair)

``make_pair()`` returns two connected ends and a function that ends both of them whatever they are
doing. The cases are in ``net_conn.py`` and ``pitfalls.py``, the pair of ``memory_pair()``
in ``memory.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from npipe.testing.edge_cases import PITFALL_CASES
from npipe.testing.net_conn import NET_CONN_CASES
from npipe.transport.memory import memory_pair

if TYPE_CHECKING:
    from npipe.transport.base import Connection

__all__ = ["CASES", "Case", "MakePair", "check_case", "check_connection", "memory_pair"]

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

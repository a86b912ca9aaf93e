"""Connections that each break one promise, for tests of the conformance suite itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import npipe
from npipe.testing import CASES, Case, check_case, memory_pair
from npipe.transport.memory import MemoryConnection

BY_NAME: dict[str, Case] = {case.__name__: case for case in CASES}


class Broken(MemoryConnection):
    """The pair in memory, with one thing wrong in the subclass."""


def assert_found(broken: type[Broken], case: str) -> None:
    """Check that a case of the suite fails a broken connection."""

    def make() -> tuple[npipe.Connection, npipe.Connection, Callable[[], None]]:
        c1, c2 = memory_pair()
        c1.__class__ = c2.__class__ = broken
        return c1, c2, lambda: (MemoryConnection.close(c1), MemoryConnection.close(c2))  # type: ignore[arg-type, return-value]

    with pytest.raises(Exception):
        check_case(BY_NAME[case], make, time_limit=1.5)

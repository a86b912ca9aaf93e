"""npipe.transport.posix.waker: a descriptor that ends a wait."""

from __future__ import annotations

import os
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Unix sockets", allow_module_level=True)

from npipe.transport.posix.waker import Waker


@pytest.mark.parametrize("eventfd", [True, False] if sys.platform == "linux" else [False])
def test_a_waker_is_readable_until_drained(eventfd: bool) -> None:
    waker = Waker(eventfd=eventfd)
    waker.drain()  # there is nothing to drain
    for _ in range(100_000 if not eventfd else 10):
        waker.wake()  # never blocks
    waker.drain()
    waker.wake()
    os.read(waker.reader, 8)
    waker.close()
    with pytest.raises(OSError):
        os.fstat(waker.reader)

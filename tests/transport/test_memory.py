"""npipe.transport.memory: what the conformance suite does not ask of the pair in memory."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from npipe.errors import ClosedError
from npipe.transport.memory import memory_pair


def test_wait_readable_tells_what_a_read_would_find() -> None:
    ours, theirs = memory_pair()
    assert not ours.wait_readable(0)
    assert not ours.wait_readable(0.01)
    theirs.write(b"x")
    assert ours.wait_readable(0)
    assert ours.read(9) == b"x"
    ours.set_read_deadline(time.monotonic() + 0.01)
    with pytest.raises(TimeoutError):
        ours.wait_readable()
    ours.set_read_deadline(None)
    theirs.close()
    assert ours.wait_readable()
    assert not ours.has_gone() or ours.read(1) == b""
    ours.close()
    with pytest.raises(ClosedError):
        ours.wait_readable(0)


def test_a_pair_holds_as_much_as_it_is_told_to(threads: ThreadPoolExecutor) -> None:
    ours, theirs = memory_pair(10)
    writing = threads.submit(ours.write, bytes(25))
    while len(ours._outgoing.data) < 10:  # type: ignore[attr-defined]
        time.sleep(0)
    ours.set_write_deadline(time.monotonic() - 1)
    cut = writing.exception(60)
    assert isinstance(cut, TimeoutError)
    assert cut.characters_written == 10  # type: ignore[attr-defined]
    assert theirs.read(100) == bytes(10)
    ours.close()
    theirs.close()


def test_t09_a_write_of_which_it_is_unknown_how_much_went_is_the_last() -> None:
    class Interrupted(bytearray):
        def __iadd__(self, data: object) -> Interrupted:  # type: ignore[override, misc]
            super().__iadd__(data)  # type: ignore[arg-type]
            raise KeyboardInterrupt

    ours, theirs = memory_pair()
    flow = ours._outgoing  # type: ignore[attr-defined]
    flow.data = Interrupted()
    with pytest.raises(KeyboardInterrupt) as cut:
        ours.write(b"half a message")
    assert not hasattr(cut.value, "characters_written")
    with pytest.raises(BrokenPipeError, match="write was interrupted"):
        ours.write(b"more")
    ours.close()
    assert theirs.read() == b"half a message"
    theirs.close()

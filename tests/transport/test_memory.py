"""npipe.transport.memory: what the conformance suite does not ask of the pair in memory."""

from __future__ import annotations

import time

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


def test_a_pair_holds_as_much_as_it_is_told_to() -> None:
    ours, theirs = memory_pair(10)
    ours.set_write_deadline(time.monotonic() + 0.01)
    with pytest.raises(TimeoutError) as cut:
        ours.write(bytes(25))
    assert cut.value.characters_written == 10  # type: ignore[attr-defined]
    assert theirs.read(100) == bytes(10)
    ours.close()
    theirs.close()


def test_the_pair_is_bounded() -> None:
    c1, c2 = memory_pair(capacity=10)
    c1.set_write_deadline(time.monotonic() + 0.01)
    with pytest.raises(TimeoutError) as caught:
        c1.write(bytes(11))
    assert caught.value.characters_written == 10  # type: ignore[attr-defined]
    assert len(c2.read(100)) == 10
    c1.close()
    c2.close()


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

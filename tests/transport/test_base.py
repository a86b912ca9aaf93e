"""npipe.transport.base: what a connection refuses where a backend does not say otherwise."""

from __future__ import annotations

import copy
import io
import pickle

import pytest

from npipe.transport.memory import memory_pair


def test_t16_a_connection_cannot_be_copied_or_pickled() -> None:
    ours, theirs = memory_pair()
    with ours, theirs:
        for call in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot copy or pickle 'MemoryConnection' object"):
                call(ours)


def test_what_a_backend_has_not_is_refused() -> None:
    ours, theirs = memory_pair()
    with ours, theirs:
        for call in (ours.detach, lambda: ours.read_now(1), lambda: ours.write_now(b"x")):
            with pytest.raises(io.UnsupportedOperation):
                call()

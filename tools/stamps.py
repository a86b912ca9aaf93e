"""Stamps: how the tools of this folder know that a step is done and need not be done again.

A finished step leaves a file ``.stamp`` in the directory that it made, holding a key: a digest
of all that the step depends on (pins, versions, the recipe). Another key means: make it anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

__all__ = ["build", "key", "locked"]


def key(*parts: object) -> str:
    """Return a digest of ``parts``, which must have a stable ``repr``."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@contextlib.contextmanager
def build(directory: Path, wanted: str) -> Iterator[bool]:
    """Yield whether ``directory`` has to be made; stamp it when the block succeeds.

    The results of an earlier or broken step are removed first.
    """
    stamp = directory / ".stamp"
    if stamp.is_file() and stamp.read_text() == wanted:
        yield False
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    yield True
    stamp.write_text(wanted)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold ``directory`` (made if absent) against another set-up in it at the same time."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

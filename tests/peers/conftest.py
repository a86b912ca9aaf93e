"""What the tests with other people's software share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def directory() -> Iterator[Path]:
    """A new directory with a path short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="np") as path:
        yield Path(path)

"""The listener behind Samba, which is there only where it is asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from npipe.cli.common import Failure
from npipe.cli.serving.samba import behind_samba


def test_none_is_made_where_none_is_asked_for() -> None:
    with behind_samba(None, None, "owner") as listener:
        assert listener is None


@pytest.mark.skipif(sys.platform == "win32", reason="there is no Samba for Windows")
def test_it_listens_in_the_directory_until_the_end(directory: Path) -> None:
    with behind_samba("shop", str(directory), "owner") as listener:
        assert listener is not None
        assert (directory / "shop").is_socket()
    assert not (directory / "shop").exists()


def test_a_mode_is_refused() -> None:
    message = "not available on Windows" if sys.platform == "win32" else "needs --access owner"
    with pytest.raises(click.UsageError, match=message), behind_samba("shop", None, 0o600):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="there is no Samba for Windows")
def test_a_directory_that_is_not_there_is_one_line(directory: Path) -> None:
    with pytest.raises(Failure), behind_samba("shop", str(directory / "none"), "owner"):
        pass

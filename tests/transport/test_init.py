"""npipe.transport: the choice of the check of a server."""

from __future__ import annotations

import pytest

from npipe.address import Address, is_bare_name
from npipe.transport import server_check


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("npipe", True),
        ("ipc:npipe", True),
        ("my.app", True),
        (r"\\.\pipe\npipe", False),
        ("//./pipe/npipe", False),
        ("./npipe", False),
        ("unix:/run/x", False),
        ("npipe:////./pipe/x", False),
        ("@name", False),
    ],
)
def test_w07_a_bare_name_is_verified_by_default_on_windows(text: str, bare: bool) -> None:
    """Every user of the computer can take such a name there; here its directory is private."""
    assert is_bare_name(text) is bare
    assert server_check(text, "auto", "win32") == ("owner" if bare else None)
    assert server_check(text, "auto", "linux") is None


def test_w07_what_is_asked_for_is_taken() -> None:
    assert server_check("npipe", None, "win32") is None
    assert server_check(r"\\.\pipe\npipe", "owner", "win32") == "owner"
    assert server_check(Address("pipe", r"\\.\pipe\npipe"), "auto", "win32") is None

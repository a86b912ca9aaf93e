"""The keywords of ``npipe.connect`` among those of a library."""

from __future__ import annotations

from npipe.integrations.options import split


def test_npipe_s_options_are_split_from_the_library_s() -> None:
    assert split({"wait": True, "limit": 5}) == ({"wait": True}, {"limit": 5})
    assert split({}) == ({}, {})

"""Tests of tools/extras.py; that the extras work is shown by running it (``make extras``)."""

from __future__ import annotations

import pytest

import extras


def test_each_extra_has_an_example_and_no_other() -> None:
    assert set(extras.EXAMPLES) == set(extras.extras())


def test_the_guides_programs_are_found_by_their_extra() -> None:
    assert all("integrations.web3" in program for program in extras.guide("web3"))
    assert not [program for program in extras.guide("requests") if "docker" in program]
    for name in ("httpx", "requests", "aiohttp", "grpclib", "anyio", "web3", "uvicorn", "pygls"):
        assert extras.guide(name), name


def test_what_an_example_does_not_print_is_an_error() -> None:
    extras.require("one, two", "two", "one")
    with pytest.raises(extras.ExampleError, match="no 'three'"):
        extras.require("one, two", "three")

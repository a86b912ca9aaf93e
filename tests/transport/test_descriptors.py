"""Tests of npipe.transport.descriptors."""

from __future__ import annotations

import contextlib
import os
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no such limit", allow_module_level=True)

import resource

from npipe.transport import descriptors
from npipe.transport.descriptors import MOST, RESERVE, are_scarce, connections_allowed


@pytest.mark.parametrize(
    ("soft", "open_now", "each", "allowed"),
    [
        (1024, 10, 1, 1024 - 10 - RESERVE),
        (1024, 10, 4, (1024 - 10 - RESERVE) // 4),
        (20, 10, 1, 1),
        (resource.RLIM_INFINITY, 10, 1, MOST),
        (1 << 40, 10, 1, MOST),
    ],
)
def test_how_many_are_allowed(
    monkeypatch: pytest.MonkeyPatch, soft: int, open_now: int, each: int, allowed: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, soft))
    monkeypatch.setattr(descriptors.os, "listdir", lambda path: [""] * open_now)
    assert connections_allowed(each) == allowed


@pytest.mark.parametrize(("more", "scarce"), [(0, True), (RESERVE, True), (RESERVE + 1, False)])
def test_when_they_are_scarce(more: int, scarce: bool) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        reader, writer = os.pipe()
        stack.callback(os.close, reader)
        stack.callback(os.close, writer)
        lowest_free = os.dup(reader)
        os.close(lowest_free)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + more, before[1]))
        assert are_scarce(reader) is scarce


def test_without_a_limit_they_are_never_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (unlimited, unlimited))
    assert not are_scarce(0)

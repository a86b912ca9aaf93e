"""npipe: the face for threads, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import npipe


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has imported after ``code``."""
    code = f"import sys; sys.path[:0] = {sys.path!r}; {code}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_importing_npipe_imports_little() -> None:
    heavy = {"asyncio", "msgspec", "ctypes", "socket", "threading", "dataclasses", "inspect"}
    assert heavy & modules_after("import npipe") == set()


def test_without_msgspec_the_error_names_the_extra() -> None:
    code = f"import sys; sys.path[:0] = {sys.path!r}; sys.modules['msgspec'] = None; "
    for statement in ("from npipe import rpc", "import npipe.rpc.aio"):
        ran = subprocess.run(
            [sys.executable, "-c", code + statement], capture_output=True, text=True, check=False
        )
        last = ran.stderr.splitlines()[-1]
        assert last == 'ModuleNotFoundError: npipe.rpc needs msgspec: pip install "npipe[rpc]"'


@pytest.mark.skipif(sys.platform == "win32", reason="the pipes there are ctypes calls")
def test_a_connection_imports_no_more_than_it_needs() -> None:
    heavy = {"asyncio", "msgspec", "ctypes", "dataclasses", "inspect"}
    assert heavy & modules_after("import npipe; npipe.exists('./no')") == set()


def test_every_name_is_there_and_documented() -> None:
    for name in npipe.__all__:
        assert getattr(npipe, name).__doc__, name
    assert sorted(npipe.__all__) == npipe.__all__

"""npipe: the face for threads, and what importing it costs."""

from __future__ import annotations

import asyncio
import inspect
import math
import subprocess
import sys
import uuid
from functools import partial
from typing import Any

import pytest

import npipe
import npipe.aio
import npipe.rpc.aio


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has imported after ``code``."""
    code = f"import sys; sys.path[:0] = {sys.path!r}; {code}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_importing_npipe_imports_little() -> None:
    heavy = {"asyncio", "ctypes", "dataclasses", "enum", "inspect", "logging", "msgspec", "re"}
    heavy |= {"selectors", "socket", "ssl", "subprocess", "tempfile", "threading", "typing", "uuid"}
    here = modules_after("pass")  # an environment may import some when Python starts
    assert heavy & (modules_after("import npipe") - here) == set()


def test_a_listener_is_generic_also_without_typing() -> None:
    assert npipe.Listener[npipe.Connection] is npipe.Listener
    assert issubclass(type("Mine", (npipe.Listener[npipe.Connection],), {}), npipe.Listener)


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


CONNECTS = {
    "npipe.connect": npipe.connect,
    "npipe.aio.open_connection": npipe.aio.open_connection,
    "npipe.aio.create_connection": partial(npipe.aio.create_connection, asyncio.Protocol),
    "npipe.rpc.connect": npipe.rpc.connect,
    "npipe.rpc.aio.connect": npipe.rpc.aio.connect,
}


@pytest.mark.parametrize("name", CONNECTS)
def test_connect_timeout_means_the_same_in_every_connect(name: str) -> None:
    """The seconds for connecting, waiting for a server included."""
    address = "npipe-" + uuid.uuid4().hex  # a name that is not served
    connect = CONNECTS[name]
    wrong = {"wait": True, "connect_timeout": math.nan}

    async def awaited(**options: Any) -> None:
        result = connect(address, **options)
        if inspect.isawaitable(result):
            await result

    with pytest.raises(TimeoutError, match=r"within 0\.05"):
        asyncio.run(awaited(wait=True, connect_timeout=0.05))
    with pytest.raises(ValueError, match="timeout"):
        asyncio.run(awaited(**wrong))
    if ".rpc." not in name:  # there it is the seconds for a call
        with pytest.raises(TypeError, match="'timeout'"):
            asyncio.run(awaited(timeout=1))

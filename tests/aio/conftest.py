"""Runs ``async def`` tests on every kind of loop, and checks that they leave nothing behind.

A test may take ``address`` (a fresh one), ``reported`` (what reached the loop's exception
handler; a test that does not take it fails if anything did) and ``flavour``.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import shutil
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FLAVOURS = ["asyncio", "eager", "uvloop"]
if "WINEPREFIX" not in os.environ:  # debug mode looks up files at each call, which takes ages there
    FLAVOURS.append("debug")


@dataclass
class Flavour:
    name: str
    reported: list[dict[str, Any]] = field(default_factory=list)

    def new_loop(self) -> asyncio.AbstractEventLoop:
        if self.name == "uvloop":
            import uvloop

            loop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        if self.name == "eager":
            loop.set_task_factory(asyncio.eager_task_factory)
        loop.set_exception_handler(lambda loop, context: self.reported.append(context))
        return loop

    def run(self, test: Callable[[], Any]) -> None:
        with asyncio.Runner(loop_factory=self.new_loop, debug=self.name == "debug") as runner:
            runner.run(_leaving_nothing(test))


async def _leaving_nothing(test: Callable[[], Any]) -> None:
    await warm_up()
    others = set(threading.enumerate())  # what an earlier test began may end meanwhile
    before = census(others)
    await test()
    for _ in range(100):  # transports close, and tasks end, a few turns later
        gc.collect()
        await asyncio.sleep(0)
        if census(others) == before:
            break
    assert census(others) == before


async def warm_up() -> None:
    """Have the loop make what it makes with its first turn, or with its first transport."""
    await asyncio.sleep(0)
    if sys.platform == "win32":
        return
    here, there = socket.socketpair()
    with there:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, sock=here)
        transport.close()
    while here.fileno() != -1:
        await asyncio.sleep(0)


def census(others: set[threading.Thread]) -> dict[str, int]:
    """Count what there is; of threads, those that are not among ``others``."""
    threads = set(threading.enumerate()) - others
    counts = {"tasks": len(asyncio.all_tasks()), "threads": len(threads)}
    if sys.platform != "win32":
        return {**counts, "descriptors": len(os.listdir("/dev/fd"))}
    from npipe.aio.proactor import Pipe

    # Wine cannot count a process's handles; a handle that no Pipe holds warns when it is lost.
    pipes = [each for each in gc.get_objects() if type(each) is Pipe and each.handle is not None]
    operations = asyncio.get_running_loop()._proactor._cache
    return {**counts, "handles": len(pipes), "operations": len(operations)}


@pytest.fixture
def flavour(request: pytest.FixtureRequest) -> Flavour:
    if request.param == "eager" and sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return Flavour(request.param)


@pytest.fixture
def reported(flavour: Flavour) -> list[dict[str, Any]]:
    return flavour.reported


@pytest.fixture
def address() -> Iterator[str]:
    if sys.platform == "win32":
        yield rf"\\.\pipe\npipe-test-{uuid.uuid4().hex}"
        return
    folder = tempfile.mkdtemp(prefix="np")  # short: a socket's path has 107 bytes at most
    try:
        yield str(Path(folder, "s"))
    finally:
        shutil.rmtree(folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test that is a coroutine runs on every flavour, whether it takes ``flavour`` or not."""
    if inspect.iscoroutinefunction(metafunc.function) and "flavour" not in metafunc.fixturenames:
        metafunc.fixturenames.append("flavour")
    if "flavour" in metafunc.fixturenames:
        metafunc.parametrize("flavour", FLAVOURS, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    flavour = pyfuncitem._request.getfixturevalue("flavour")
    flavour.run(lambda: pyfuncitem.obj(**wanted))
    if "reported" not in wanted:
        assert not flavour.reported
    return True

"""The bindings as a whole: what importing them costs, and the fake in their place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import npipe
from npipe.transport.windows.kernel32 import Kernel32
from transport.windows.fake_kernel32 import FakeKernel32


def run(code: str) -> None:
    """Run a program in a Python of its own."""
    env = {**os.environ, "PYTHONPATH": str(Path(npipe.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, stdin=subprocess.DEVNULL, env=env)


def test_importing_it_binds_nothing() -> None:
    """Type checkers and the fake import it on systems that have no kernel32."""
    run("import ctypes; ctypes.WinDLL = None; import npipe.transport.windows.connect")


def test_npipe_does_not_import_ctypes_until_a_pipe_is_used() -> None:
    run("import sys, npipe; assert 'ctypes' not in sys.modules")


def test_the_fake_has_every_public_method_of_its_own() -> None:
    """What it leaves out would reach for the real kernel."""
    inherited = {"pipe_dacl"}
    real = set(Kernel32.__mro__)
    public = {name for kind in real for name in vars(kind) if not name.startswith("_")}
    own = {name for kind in FakeKernel32.__mro__ if kind not in real for name in vars(kind)}
    assert public - own <= inherited

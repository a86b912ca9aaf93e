"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from npipe import rpc


def test_every_public_name_is_there() -> None:
    assert all(hasattr(rpc, name) for name in rpc.__all__)
    assert len(set(rpc.__all__)) == len(rpc.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = rpc.Nothing


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_asyncio_is_imported_on_first_use_only() -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from npipe import rpc
print("asyncio" in sys.modules)
rpc.Spread
print("asyncio" in sys.modules)
"""
    assert python(code).split() == ["False", "True"]


def test_importing_it_imports_no_more_than_it_needs() -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
import npipe.rpc
print(*sys.modules)
"""
    heavy = {"asyncio", "concurrent.futures", "ctypes", "selectors", "shlex", "socket", "ssl"}
    heavy |= {"subprocess", "tempfile", "urllib.parse"}
    before = set(python("import sys; print(*sys.modules)").split())
    assert heavy & (set(python(code).split()) - before) == set()


def test_without_msgspec_it_says_what_to_install() -> None:
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
sys.modules["msgspec"] = None
try:
    import npipe.rpc
except ModuleNotFoundError as error:
    print(error)
"""
    assert python(code) == 'npipe.rpc needs msgspec: pip install "npipe[rpc]"'

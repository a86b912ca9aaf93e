"""The error message for a library that is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import npipe.integrations

WITHOUT = """
import importlib, sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nothing())
hidden = {"httpcore", "httpcore2", "httpx", "httpx2", "mcp", "mcp_types", "urllib3", "requests",
    "uvicorn", "pygls", "web3", "grpclib", "aiohttp", "anyio", "opentelemetry"}
for name in sys.argv[1:]:
    try:
        importlib.import_module(f"npipe.integrations.{name}")
    except ModuleNotFoundError as error:
        assert error.name.partition(".")[0] in hidden, error
        assert f'pip install "npipe[{name}]"' in str(error), error
    else:
        print(name)
"""


def test_a_missing_library_is_named_with_its_extra() -> None:
    folder = Path(npipe.integrations.__path__[0])
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *names],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # These stand on nothing that may be missing.
    assert done.stdout.split() == ["httpcore", "options", "socket"]

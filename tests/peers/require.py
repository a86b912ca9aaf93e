"""Finds the software that others wrote and that a test talks to.

``python tools/install_peers.py`` installs it, and ``.ci/run`` what comes with the system. A test
that needs some says ``require("node")`` first: it is skipped where that is absent, unless
$NPIPE_REQUIRE names it (as CI does); then the test fails, so that nothing is left out in silence.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

__all__ = ["NODE", "NODE_MODULES", "has_module", "node_environment", "require", "run_node"]

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(os.environ.get("NPIPE_PEERS") or ROOT / ".peers")
NODE = Path(__file__).with_name("node")  # our scripts; the packages they use are in:
NODE_MODULES = PEERS / "node" / "node_modules"

#: What each peer is built or run with; a name that is not here is itself a tool.
_COMES_WITH = {
    "gonet": "go",
    "geth": "go",
    "winio": "go",
    "anvil": "node",
    "ethers": "node",
    "jayson": "node",
    "natefinch": "go",
    **dict.fromkeys(("gpg-agent", "ssh-agent", "ssh-keygen"), "recipes"),
    **dict.fromkeys(("mariadbd", "mpv", "nvim"), "recipes"),
    "qemu-system-x86_64": "recipes",
    "nats-server": "nats",
    "promtool": "prometheus",
    "nss_wrapper": "samba",
    "smbclient": "samba",
    "smbprotocol": "samba",
    "smbd": "samba",
    "systemd-socket-activate": "systemd",
    "gssapi": "krb5kdc",
    "ssh": "sshd",
    "uid_wrapper": "samba",
    "viem": "node",
    "vscode-jsonrpc": "node",
}
#: What is installed on the system itself only, not for Windows under Wine.
_POSIX_ONLY = {
    "podman",
    "smbd",
    "gonet",
    "geth",
    "anvil",
    "go",
    "wine",
    "prometheus",
    "promtool",
    "nats-server",
}


def require(name: str) -> Path:
    """Return where the program or npm package ``name`` is; if absent, skip or fail the test."""
    found = _find(name)
    if found is None:
        if sys.platform == "win32" and name in _POSIX_ONLY:
            pytest.skip(f"{name} is not installed for Windows", allow_module_level=True)
        _absent(name, f"{name} is not installed (tools/install_peers.py; see CONTRIBUTING.md)")
    return found


def has_module(name: str) -> bool:
    """Return whether the Python module ``name`` is installed, or has to be."""
    return importlib.util.find_spec(name) is not None or _is_required(name)


def _is_required(name: str) -> bool:
    return _COMES_WITH.get(name, name) in os.environ.get("NPIPE_REQUIRE", "").split(",")


def _absent(name: str, reason: str) -> NoReturn:
    if _is_required(name):
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)


def _find(name: str) -> Path | None:
    """Look for a program first among the pinned ones, then on PATH; then for an npm package."""
    pinned = [PEERS / "bin", PEERS / "windows", NODE_MODULES / ".bin"]
    system = [os.environ.get("PATH", os.defpath), "/usr/sbin"]  # where smbd and sshd are
    places = os.pathsep.join([*map(str, pinned), *system])
    program = shutil.which(name, path=places)
    if program is not None:
        return Path(program)
    package = NODE_MODULES / name
    return package if package.is_dir() else None


def node_environment() -> dict[str, str]:
    """Return the environment in which ``require()`` of a CommonJS script finds the npm packages."""
    return {**os.environ, "NODE_PATH": str(NODE_MODULES)}


def run_node(script: str, *arguments: str) -> Any:
    """Run a script of ``tests/peers/node``; return the JSON that it prints."""
    done = subprocess.run(
        [require("node"), NODE / script, *arguments],
        env=node_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

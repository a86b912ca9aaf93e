"""Installs pinned third-party programs, with which the tests and benchmarks communicate.

    python tools/install_peers.py    install what this machine has the tools for, into .peers

``.peers/node``     the npm packages of tests/peers/node (needs node and npm)
``.peers/bin``      the Go programs of tests/peers/go for this system, and geth (needs go)
``.peers/windows``  those that are for Windows, to be run under Wine (needs go)

The modules for Kerberos go into the venv (needs krb5-config and a C compiler).

A missing tool is an error only if $NPIPE_REQUIRE lists it; otherwise the tests that need it are
skipped. Parts that are up to date are kept; the first build of geth takes minutes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import stamps

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".peers"
SOURCES = ROOT / "tests" / "peers"
#: The newest version all of whose modules the Go module proxy was seen to serve.
GETH = "github.com/ethereum/go-ethereum/cmd/geth@v1.16.9"

KERBEROS = ("gssapi>=1.8,<2", "krb5>=0.7,<1")  # what smbprotocol[kerberos] adds
COMES_FOR = {"krb5-config": "krb5kdc"}  # what $NPIPE_REQUIRE calls it


def install() -> bool:
    """Install every peer that can be; return False if a required one could not."""
    required = os.environ.get("NPIPE_REQUIRE", "").split(",")
    complete = True
    with stamps.locked(PEERS):
        for tool, step in (("node", node_packages), ("go", go_programs), ("krb5-config", kerberos)):
            try:
                step(find(tool))
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"install_peers.py: peers that need {tool}: {error}", file=sys.stderr)
                complete = complete and COMES_FOR.get(tool, tool) not in required
    return complete


def kerberos(config: str) -> None:
    """Build the Python modules for Kerberos, which have no wheels for Linux: a minute or more."""
    del config  # it only says that the headers are there
    if not all(importlib.util.find_spec(name) for name in ("gssapi", "krb5")):
        say("building the modules of the extra smb-kerberos (minutes, the first time)")
        command = [sys.executable, "-m", "pip", "install", "--quiet", *KERBEROS]
        subprocess.run(command, check=True)


def node_packages(node: str) -> None:
    """Install the npm packages as their lock file pins them; none of their scripts is run."""
    pins = [SOURCES / "node" / name for name in ("package.json", "package-lock.json")]
    version = subprocess.check_output([node, "--version"], text=True)
    with stamps.build(PEERS / "node", stamps.key(version, digest(pins))) as needed:
        if needed:
            say("installing npm packages")
            for pin in pins:
                shutil.copy(pin, PEERS / "node")
            # Not `npm ci`, which wants the lock file to list every other system's packages too.
            options = ["--no-save", "--ignore-scripts", "--no-audit", "--no-fund"]
            command = [find("npm"), "install", "--loglevel=error", *options]
            subprocess.run(command, cwd=PEERS / "node", check=True)


def go_programs(go: str) -> None:
    """Build our small Go programs and geth, all without cgo: no C compiler is needed."""
    sources = sorted(path for path in (SOURCES / "go").rglob("*") if path.is_file())
    version = subprocess.check_output([go, "version"], text=True)
    pins = stamps.key(version, digest(sources), GETH)
    environment = {**os.environ, "CGO_ENABLED": "0"}

    def build(target: Path, package: str, system: dict[str, str]) -> None:
        say(f"building {package}")
        command = [go, "build", "-o", f"{target}/", package]
        subprocess.run(command, cwd=SOURCES / "go", check=True, env={**environment, **system})

    with stamps.build(PEERS / "windows", pins) as needed:
        if needed:
            for package in ("./natefinch", "./winio", "./pipebench"):
                build(PEERS / "windows", package, {"GOOS": "windows", "GOARCH": "amd64"})
    with stamps.build(PEERS / "bin", pins) as needed:
        if needed:
            build(PEERS / "bin", "./gonet", {})
            say(f"building {GETH} (minutes, the first time)")
            command = [go, "install", "-trimpath", "-ldflags=-s -w", GETH]
            subprocess.run(command, check=True, env={**environment, "GOBIN": str(PEERS / "bin")})


def digest(files: list[Path]) -> str:
    return stamps.key(*((file.name, file.read_bytes()) for file in files))


def find(program: str) -> str:
    """Return where ``program`` is. Raises FileNotFoundError."""
    path = shutil.which(program)
    if path is None:
        raise FileNotFoundError(f"{program} is not installed")
    return path


def say(text: str) -> None:
    print(f"install_peers.py: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(0 if install() else 1)

"""``npipe attach`` on nodes that others wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from peers.require import require
from peers.test_rpc_peers import running

LINES = """\
eth.blockNumber
eth.getBlock("latest").number
eth_getBalance 0x0000000000000000000000000000000000000001 latest
[{"method": "eth_chainId"}]
"""


def attach(address: str, lines: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "npipe.cli", "attach", address]
    return subprocess.run(
        command, input=lines, capture_output=True, text=True, timeout=60, check=False
    )


def test_attach_to_anvil(directory: Path) -> None:
    address = str(directory / "a")
    command = [require("anvil"), "--silent", "--port", "0", "--ipc", address]
    with running(address, *command) as path:
        done = attach(path, LINES)
    assert (done.returncode, done.stderr) == (0, "")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert results == ["0x0", "0x0", "0x0", [hex(31337)]]


def test_attach_to_geth(directory: Path) -> None:
    address = str(directory / "g")
    command = [
        *(require("geth"), "--dev", "--ipcpath", address, "--datadir", directory / "data"),
        *("--nodiscover", "--maxpeers", "0", "--port", "0", "--authrpc.port", "0"),
    ]
    with running(address, *map(str, command)) as path:
        done = attach(path, LINES + "admin.nodeInfo.name\n")
    assert (done.returncode, done.stderr) == (0, "")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert results[0:2] == ["0x0", "0x0"]
    assert results[3] == [hex(1337)]
    assert results[4].startswith("Geth/")

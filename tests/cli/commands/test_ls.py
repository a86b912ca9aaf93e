"""``npipe ls``: what is listed."""

from __future__ import annotations

import json
import sys

import pytest

import npipe
from cli.conftest import Run
from npipe.cli.commands.ls import parse

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc/net/unix is Linux'")


@LINUX
def test_all_lists_what_others_serve_anywhere(address: str, run: Run) -> None:
    abstract = npipe.address.parse(f"@np{address}", abstract=True)
    with npipe.listen(address), npipe.listen(abstract):
        assert address in run("ls", "--all").stdout.splitlines()
        found = json.loads(run("ls", "--all", "--json").stdout)
        assert f"@np{address}" in found
        name = address.rpartition("/")[2]
        assert address in run("ls", "--all", name).stdout.splitlines()
    assert address not in run("ls", "--all").stdout.splitlines()


def test_only_listening_streams_with_a_name_are_listed() -> None:
    lines = [
        "Num       RefCount Protocol Flags    Type St Inode Path\n",
        "000: 00000002 00000000 00010000 0001 01 11 /run/a b.sock\n",
        "000: 00000002 00000000 00010000 0001 01 12 @abstract\n",
        "000: 00000003 00000000 00000000 0001 03 13 /run/connected\n",
        "000: 00000002 00000000 00010000 0005 01 14 /run/seqpacket\n",
        "000: 00000002 00000000 00010000 0001 01 15 relative\n",
        "000: 00000002 00000000 00010000 0001 01 16\n",
    ]
    assert list(parse(lines)) == ["/run/a b.sock", "@abstract"]

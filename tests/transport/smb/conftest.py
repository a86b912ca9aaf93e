"""One real smbd for all of these tests, and pairs of ends that are connected through it.

Without the extra "smb" none of these modules can be imported: they are left out then, unless
``NPIPE_REQUIRE`` names samba. There is no smbd for Windows.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

import npipe
from peers.require import has_module

if TYPE_CHECKING:
    from npipe.transport.smb.samba import SambaConnection, SambaListener
    from peers.smbd import Smbd

if sys.platform == "win32" or not has_module("smbprotocol"):
    collect_ignore_glob = ["test_*.py"]

_numbers = itertools.count()


@pytest.fixture(scope="session")
def smbd() -> Iterator[Smbd]:
    from peers.smbd import running_smbd

    with running_smbd() as running:
        yield running


@pytest.fixture
def remote(smbd: Smbd) -> npipe.Smb:
    from peers.smbd import PASSWORD, USER

    return npipe.Smb(USER, PASSWORD, port=smbd.port)


@pytest.fixture
def listener(smbd: Smbd) -> Iterator[SambaListener]:
    with npipe.SambaListener(f"test{next(_numbers)}", directory=smbd.sockets) as listening:
        yield listening


@pytest.fixture
def address(listener: SambaListener) -> str:
    """Where a client finds ``listener``."""
    name = listener.address.path.rpartition("/")[2]
    return rf"\\127.0.0.1\pipe\{name}"


@pytest.fixture
def pair(
    listener: SambaListener, address: str, remote: npipe.Smb
) -> Iterator[Callable[..., tuple[npipe.Connection, SambaConnection]]]:
    """Make a connection and return both ends, the remote client's first."""
    made: list[npipe.Connection] = []

    def connect(remote: npipe.Smb = remote) -> tuple[npipe.Connection, SambaConnection]:
        client = npipe.connect(address, remote=remote, timeout=30)
        made.append(client)
        server = listener.accept(timeout=30)
        made.append(server)
        return client, server

    yield connect
    for each in made:
        each.close()

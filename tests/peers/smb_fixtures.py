"""One real smbd for all of the tests that import this, and pairs of ends connected through it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

import npipe
from peers.smbd import PASSWORD, USER, Smbd, running_smbd

if TYPE_CHECKING:
    from npipe.transport.smb.samba import SambaConnection, SambaListener

__all__ = ["listener", "pair", "pipe_address", "remote", "smbd"]

_numbers = itertools.count()


@pytest.fixture(scope="session")
def smbd() -> Iterator[Smbd]:
    with running_smbd() as running:
        yield running


@pytest.fixture
def remote(smbd: Smbd) -> npipe.Smb:
    return npipe.Smb(USER, PASSWORD, port=smbd.port)


@pytest.fixture
def listener(smbd: Smbd) -> Iterator[SambaListener]:
    with npipe.SambaListener(f"test{next(_numbers)}", directory=smbd.sockets) as listening:
        yield listening


def pipe_address(listener: SambaListener) -> str:
    """Return where a client finds ``listener``."""
    name = listener.address.path.rpartition("/")[2]
    return rf"\\127.0.0.1\pipe\{name}"


@pytest.fixture
def pair(
    listener: SambaListener, remote: npipe.Smb
) -> Iterator[Callable[..., tuple[npipe.Connection, SambaConnection]]]:
    """Make a connection and return both ends, the remote client's first."""
    made: list[npipe.Connection] = []

    def connect(remote: npipe.Smb = remote) -> tuple[npipe.Connection, SambaConnection]:
        client = npipe.connect(pipe_address(listener), remote=remote, connect_timeout=30)
        made.append(client)
        server = listener.accept(timeout=30)
        made.append(server)
        return client, server

    yield connect
    for each in made:
        each.close()

"""Serving behind Samba with asyncio; ``test_smb.py`` runs the conformance cases on both ends."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys

import pytest

import npipe.aio
from peers.require import has_module
from peers.smb_fixtures import pipe_address, remote, smbd

if sys.platform == "win32":
    pytest.skip("there is no smbd for Windows", allow_module_level=True)
if not has_module("smbprotocol"):
    pytest.skip('needs the extra "smb"', allow_module_level=True)

__all__ = ["remote", "smbd"]

_numbers = itertools.count()


async def test_no_tail_is_lost_when_the_server_closes_at_once(smbd, remote):
    sent = random.Random(1).randbytes(1 << 20)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()

    listener = npipe.SambaListener(f"tail{next(_numbers)}", directory=smbd.sockets)
    async with await npipe.aio.start_server(serve, listener):
        for _ in range(3):
            reader, writer = await npipe.aio.open_connection(
                pipe_address(listener), remote=remote, connect_timeout=30
            )
            assert await reader.read() == sent
            writer.close()
            await writer.wait_closed()


async def test_closing_the_server_gives_the_name_free(smbd, remote):
    name = f"closed{next(_numbers)}"
    for _ in range(2):
        listener = npipe.SambaListener(name, directory=smbd.sockets)
        server = await npipe.aio.start_server(lambda reader, writer: writer.close(), listener)
        assert server.sockets == ()
        assert str(server.address).endswith(name)
        server.close()
        await server.wait_closed()
    with pytest.raises(FileNotFoundError):
        await npipe.aio.open_connection(
            rf"\\127.0.0.1\pipe\{name}", remote=remote, connect_timeout=30
        )


async def test_only_a_listener_or_an_address_is_served(smbd):
    with pytest.raises(TypeError, match="SambaListener"):
        await npipe.aio.start_server(lambda reader, writer: None, 5)

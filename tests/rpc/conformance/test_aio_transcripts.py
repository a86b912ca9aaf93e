"""The transcripts, on the server of asyncio."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import npipe
from npipe.rpc import API, aio
from rpc.aio_service import Run, on_each_loop
from rpc.conformance.test_transcripts import ConnectionDriver
from rpc.transcript import FILES, limits_of, play


@on_each_loop
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_on_asyncio(path: Path, api: API, address: str, run: Run) -> None:
    def client() -> None:
        with npipe.connect(address, connect_timeout=60) as connection:
            play(path, ConnectionDriver(connection))

    async def main() -> None:
        async with aio.Server(api, limits=limits_of(path)) as server:
            await server.serve(address)
            await asyncio.to_thread(client)

    run(main())
